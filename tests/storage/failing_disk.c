/* A disk that fails, for files whose path contains DISK_FAILS_ON.

   SYNC_FAILS_FROM=N: the N-th fsync or fdatasync fails with EIO, and all that follow; the N-th only if SYNC_FAILS_ONCE
   is set: a second call then reports success, as Linux does although the data is gone.
   WRITE_FAILS_FROM=N: the N-th write takes half of its bytes, and every later one fails with ENOSPC. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static int ours(int file)
{
    char link[64], path[4096];
    const char *part = getenv("DISK_FAILS_ON");
    if (!part)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, part) != NULL;
}

static int sync_fails(int file)
{
    static int calls;
    const char *from = getenv("SYNC_FAILS_FROM");
    if (!from || !ours(file))
        return 0;
    int call = __sync_add_and_fetch(&calls, 1);
    if (getenv("SYNC_FAILS_ONCE") ? call != atoi(from) : call < atoi(from))
        return 0;
    errno = EIO;
    return 1;
}

/* How many of so many bytes there is room for; -1: none any more. */
static ssize_t room(int file, size_t length)
{
    static int calls;
    const char *from = getenv("WRITE_FAILS_FROM");
    if (!from || !ours(file))
        return (ssize_t)length;
    int call = __sync_add_and_fetch(&calls, 1);
    if (call < atoi(from))
        return (ssize_t)length;
    if (call == atoi(from) && length > 1)
        return (ssize_t)(length / 2);
    errno = ENOSPC;
    return -1;
}

int fsync(int file) { return sync_fails(file) ? -1 : REAL(int, "fsync", int)(file); }

int fdatasync(int file) { return sync_fails(file) ? -1 : REAL(int, "fdatasync", int)(file); }

ssize_t write(int file, const void *data, size_t length)
{
    ssize_t fits = room(file, length);
    return fits < 0 ? -1 : REAL(ssize_t, "write", int, const void *, size_t)(file, data, fits);
}

ssize_t pwrite(int file, const void *data, size_t length, off_t at)
{
    ssize_t fits = room(file, length);
    return fits < 0 ? -1 : REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(file, data, fits, at);
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t at)
{
    ssize_t fits = room(file, length);
    return fits < 0 ? -1 : REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(file, data, fits, at);
}
