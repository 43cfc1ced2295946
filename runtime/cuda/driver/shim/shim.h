// What the shim tells beside the driver's own interface.
#ifndef ISEARLE_SHIM_H
#define ISEARLE_SHIM_H

#include "cuda.h"

// What the driver's cuInit answered; CUDA_ERROR_NO_DEVICE where no driver could be opened.
CUresult isearle_driver_status(void);

// Why no driver could be opened; "" where one was.
const char *isearle_driver_failure(void);

#endif
