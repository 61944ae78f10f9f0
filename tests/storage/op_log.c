/* Writes down, in order, everything that a process does to the files under OP_LOG_ROOT, and each HTTP POST that leaves
   it: one line `operation TAB path TAB offset TAB length` for each in OP_LOG, followed by the data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static void put(const void *data, size_t length)
{
    if (REAL(ssize_t, "write", int, const void *, size_t)(out, data, length) != (ssize_t)length)
        abort();
}

static int ours(const char *path)
{
    const char *root = getenv("OP_LOG_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static void note(const char *operation, const char *path, const char *to, long offset, const void *data, size_t length)
{
    char line[9000];
    int size = snprintf(line, sizeof line, "%s\t%s\t%s\t%ld\t%zu\n", operation, path, to, offset, length);
    pthread_mutex_lock(&one);
    if (out < 0)
        out = REAL(int, "open64", const char *, int, ...)(getenv("OP_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    put(line, size);
    if (length)
        put(data, length);
    pthread_mutex_unlock(&one);
}

static const char *path_of(int file, char *path, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0)
        return NULL;
    path[length] = 0;
    return ours(path) ? path : NULL;
}

static int opened(const char *name, const char *path, int flags, int mode)
{
    int fresh = ours(path) && (flags & O_CREAT) && access(path, F_OK) != 0;
    int file = REAL(int, name, const char *, int, ...)(path, flags, mode);
    if (file >= 0 && fresh)
        note("create", path, "", 0, NULL, 0);
    else if (file >= 0 && ours(path) && (flags & O_TRUNC))
        note("truncate", path, "", 0, NULL, 0);
    return file;
}

#define MODE(flags) int mode = 0; if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }
int open(const char *path, int flags, ...) { MODE(flags) return opened("open", path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened("open64", path, flags, mode); }

ssize_t write(int file, const void *data, size_t length)
{
    char path[4096];
    long at = -1;
    const char *name = path_of(file, path, sizeof path);
    if (name)
        at = lseek(file, 0, SEEK_CUR);
    ssize_t done = REAL(ssize_t, "write", int, const void *, size_t)(file, data, length);
    if (name && done > 0)
        note("write", name, "", at, data, done);
    return done;
}

static ssize_t written(int file, const void *data, size_t length, long at, ssize_t done)
{
    char path[4096];
    const char *name = path_of(file, path, sizeof path);
    if (name && done > 0)
        note("write", name, "", at, data, done);
    (void)length;
    return done;
}

ssize_t pwrite(int file, const void *data, size_t length, off_t at)
{
    return written(file, data, length, at, REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(file, data, length, at));
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t at)
{
    return written(file, data, length, at, REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(file, data, length, at));
}

static int about(const char *operation, int file, long size, int done)
{
    char path[4096];
    const char *name = path_of(file, path, sizeof path);
    if (name && done == 0)
        note(operation, name, "", size, NULL, 0);
    return done;
}

int ftruncate(int file, off_t size) { return about("truncate", file, size, REAL(int, "ftruncate", int, off_t)(file, size)); }
int ftruncate64(int file, off64_t size) { return about("truncate", file, size, REAL(int, "ftruncate64", int, off64_t)(file, size)); }
int fsync(int file) { return about("sync", file, 0, REAL(int, "fsync", int)(file)); }
int fdatasync(int file) { return about("sync", file, 0, REAL(int, "fdatasync", int)(file)); }

static int named(const char *operation, const char *path, const char *to, int done)
{
    if (done == 0 && ours(path))
        note(operation, path, to, 0, NULL, 0);
    return done;
}

int mkdir(const char *path, mode_t mode) { return named("mkdir", path, "", REAL(int, "mkdir", const char *, mode_t)(path, mode)); }
int unlink(const char *path) { return named("unlink", path, "", REAL(int, "unlink", const char *)(path)); }
int link(const char *path, const char *to) { return named("link", path, to, REAL(int, "link", const char *, const char *)(path, to)); }
int rename(const char *path, const char *to) { return named("rename", path, to, REAL(int, "rename", const char *, const char *)(path, to)); }

ssize_t send(int socket, const void *data, size_t length, int flags)
{
    if (length > 5 && memcmp(data, "POST ", 5) == 0)
        note("post", getenv("OP_LOG_ROOT"), "", 0, NULL, 0);  /* before it leaves: what must be safe is safe by now */
    return REAL(ssize_t, "send", int, const void *, size_t, int)(socket, data, length, flags);
}
