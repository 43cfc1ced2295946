module isearle/clipnet/tokenizer/gen

go 1.26.0
