// check_cuda's part about the selection of experts.
#ifndef REAL_CHECK_CUDA_SELECT_H
#define REAL_CHECK_CUDA_SELECT_H

// Every shape of selection against a plain loop; scores that are nearer than rounding may change
// places.
void check_selection(void);

#endif
