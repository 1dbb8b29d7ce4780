/* Loaded before a server, lets a test set that server's wall clock while it runs:
 * the file SET_CLOCK_FILE holds by how many seconds, as 8 bytes. Monotonic time is
 * left alone. (libfaketime does not start under a server with jemalloc.) */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *by;

__attribute__((constructor)) static void open_file(void) {
  const char *name = getenv("SET_CLOCK_FILE");
  int file = name ? open(name, O_RDONLY) : -1;
  if (file < 0) abort();
  void *map = mmap(0, sizeof *by, PROT_READ, MAP_SHARED, file, 0);
  if (map == MAP_FAILED) abort();
  by = map;
}

int clock_gettime(clockid_t which, struct timespec *at) {
  long failed = syscall(SYS_clock_gettime, which, at);
  if (!failed && by && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) at->tv_sec += *by;
  return (int)failed;
}

int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
