module isearle/runtime/cuda/driver/gen

go 1.26.0
