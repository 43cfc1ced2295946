package driver

//go:generate sh -c "cd gen && go run . ../include/cuda.h > ../shim/calls.inc"
