/* A disk that no longer answers: what must reach it waits for as long as the file is there that
   QUIRE_TEST_DISK names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_for_disk(void)
{
    const char *path = getenv("QUIRE_TEST_DISK");
    while (path != NULL && access(path, F_OK) == 0)
        usleep(5000);
}

int fsync(int file)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
    return next(file);
}

int fdatasync(int file)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return next(file);
}
