/* The header is C: included twice, used by name, compiled as every standard. */
/* It would drop the second include. */
/* clang-format off */
#include "mossrt/mossrt.h"
#include "mossrt/mossrt.h"
/* clang-format on */

static int32_t Tick(void* user, const char* stage, uint64_t done, uint64_t total) {
  (void)user;
  (void)stage;
  return done <= total ? 0 : -1;
}

int main(void) {
  mossrt_tick_fn tick = Tick;
  mossrt_error* (*load)(const char*, const mossrt_options*, mossrt_monitor*, mossrt_model**) =
      &mossrt_model_load;
  return tick(NULL, "", 0, 1) == 0 && load != NULL ? MOSSRT_OK : MOSSRT_E_INTERNAL;
}
