/* Makes fsync and fdatasync fail with EIO: for files whose path contains SYNC_FAILS_ON, from the SYNC_FAILS_FROM-th
   such call on. Once only if SYNC_FAILS_ONCE is set: a second call then reports success, as Linux does although the
   data is gone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int calls;

static int fails(int file)
{
    char link[64], path[4096];
    const char *part = getenv("SYNC_FAILS_ON"), *from = getenv("SYNC_FAILS_FROM");
    if (!part || !from)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!strstr(path, part))
        return 0;
    int call = __sync_add_and_fetch(&calls, 1);
    return getenv("SYNC_FAILS_ONCE") ? call == atoi(from) : call >= atoi(from);
}

int fsync(int file)
{
    if (fails(file)) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file)
{
    if (fails(file)) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
