#ifndef CKERNEL_H
#define CKERNEL_H
#include "ckernel_files.h"
#include "ckernel_epoll.h"
#include "ckernel_btrfs.h"
#endif
