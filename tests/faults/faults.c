/* Kills the process, or lets the call fail, at the Nth call that changes what is on disk below a folder.

   Built and loaded (LD_PRELOAD) by tests/faults.py, which says what this can see and what it cannot. Nothing is
   counted before faults_arm. A write at which the fault comes has put half of its bytes into the file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define KILL 0

static char under[PATH_MAX];
static long calls, fault_at;
static int fault, log_file = -1;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Start counting calls below `folder`; the fault comes at call `at` (from 1; 0: never) and is KILL or an errno.
   A line is written to `log` for each call. */
void faults_arm(const char *folder, long at, int how, const char *log) {
    static int (*real_open)(const char *, int, ...);
    if (!real_open) real_open = dlsym(RTLD_NEXT, "open");
    log_file = real_open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (log_file < 0) abort();
    calls = 0;
    fault_at = at;
    fault = how;
    snprintf(under, sizeof under, "%s/", folder);
}

/* The absolute path of `path`, seen from the open folder `folder`; empty if it cannot be told. */
static void absolute(int folder, const char *path, char *whole) {
    char link[64];
    ssize_t used = 0;
    whole[0] = 0;
    if (path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(whole, PATH_MAX)) return;
            used = strlen(whole);
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            if ((used = readlink(link, whole, PATH_MAX - 1)) < 0) used = 0;
            whole[used] = 0;
        }
        if (path[0]) whole[used++] = '/';
    }
    snprintf(whole + used, PATH_MAX - used, "%s", path);
}

/* Counts a call on `one` (and `other`); whether it is to fail. With `write`, half of the bytes go there first. */
static int struck(const char *name, const char *one, const char *other) {
    static ssize_t (*real_write)(int, const void *, size_t);
    if (!under[0]) return 0;
    size_t length = strlen(under);
    if (strncmp(one, under, length) && strncmp(other, under, length)) return 0;
    long number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    char line[2 * PATH_MAX + 64];
    int size = snprintf(line, sizeof line, "%ld\t%s\t%s\t%s\n", number, name, one, other);
    if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
    if (real_write(log_file, line, size) != size) abort();
    return number == fault_at;
}

static int strike(void) {
    if (fault == KILL) kill(getpid(), SIGKILL);
    errno = fault;
    return -1;
}

static int at_path(const char *name, int folder, const char *path) {
    char whole[PATH_MAX];
    if (!under[0]) return 0;
    absolute(folder, path, whole);
    return struck(name, whole, "");
}

static int at_descriptor(const char *name, int descriptor) { return at_path(name, descriptor, ""); }

static int at_two(const char *name, int folder, const char *from, int other_folder, const char *to) {
    char one[PATH_MAX], other[PATH_MAX];
    if (!under[0]) return 0;
    absolute(folder, from, one);
    absolute(other_folder, to, other);
    return struck(name, one, other);
}

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)); }

#define MODE \
    va_list more; \
    va_start(more, flags); \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        MODE; \
        return writes(flags) && at_path("open", AT_FDCWD, path) ? strike() : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        MODE; \
        return writes(flags) && at_path("open", folder, path) ? strike() : real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        if ((mode[0] != 'r' || strchr(mode, '+')) && at_path("fopen", AT_FDCWD, path)) { \
            strike(); \
            return NULL; \
        } \
        return real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write);
    if (!at_descriptor("write", descriptor)) return real(descriptor, data, size);
    if (real(descriptor, data, size / 2) < 0) abort();
    return strike();
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    REAL(writev);
    if (!at_descriptor("writev", descriptor)) return real(descriptor, parts, count);
    if (real(descriptor, parts, count / 2) < 0) abort();
    return strike();
}

#define PWRITE(name, offset_type) \
    ssize_t name(int descriptor, const void *data, size_t size, offset_type offset) { \
        REAL(name); \
        if (!at_descriptor("pwrite", descriptor)) return real(descriptor, data, size, offset); \
        if (real(descriptor, data, size / 2, offset) < 0) abort(); \
        return strike(); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define ON_DESCRIPTOR(name, label, parameters, ...) \
    int name parameters { \
        REAL(name); \
        return at_descriptor(label, descriptor) ? strike() : real(__VA_ARGS__); \
    }
ON_DESCRIPTOR(fsync, "fsync", (int descriptor), descriptor)
ON_DESCRIPTOR(fdatasync, "fsync", (int descriptor), descriptor)
ON_DESCRIPTOR(ftruncate, "truncate", (int descriptor, off_t size), descriptor, size)
ON_DESCRIPTOR(ftruncate64, "truncate", (int descriptor, off64_t size), descriptor, size)
ON_DESCRIPTOR(fallocate, "fallocate", (int descriptor, int mode, off_t offset, off_t size), descriptor, mode, offset, size)
ON_DESCRIPTOR(fallocate64, "fallocate", (int descriptor, int mode, off64_t offset, off64_t size), descriptor, mode, offset, size)

#define ON_PATH(name, label, folder, parameters, ...) \
    int name parameters { \
        REAL(name); \
        return at_path(label, folder, path) ? strike() : real(__VA_ARGS__); \
    }
ON_PATH(truncate, "truncate", AT_FDCWD, (const char *path, off_t size), path, size)
ON_PATH(unlink, "unlink", AT_FDCWD, (const char *path), path)
ON_PATH(unlinkat, "unlink", folder, (int folder, const char *path, int flags), folder, path, flags)
ON_PATH(remove, "unlink", AT_FDCWD, (const char *path), path)
ON_PATH(rmdir, "rmdir", AT_FDCWD, (const char *path), path)
ON_PATH(mkdir, "mkdir", AT_FDCWD, (const char *path, mode_t mode), path, mode)
ON_PATH(mkdirat, "mkdir", folder, (int folder, const char *path, mode_t mode), folder, path, mode)

#define ON_TWO(name, label, folder, other_folder, parameters, ...) \
    int name parameters { \
        REAL(name); \
        return at_two(label, folder, from, other_folder, to) ? strike() : real(__VA_ARGS__); \
    }
ON_TWO(rename, "rename", AT_FDCWD, AT_FDCWD, (const char *from, const char *to), from, to)
ON_TWO(renameat, "rename", one, other, (int one, const char *from, int other, const char *to), one, from, other, to)
ON_TWO(renameat2, "rename", one, other, (int one, const char *from, int other, const char *to, unsigned flags), one, from, other, to, flags)
ON_TWO(link, "link", AT_FDCWD, AT_FDCWD, (const char *from, const char *to), from, to)
ON_TWO(linkat, "link", one, other, (int one, const char *from, int other, const char *to, int flags), one, from, other, to, flags)
ON_TWO(symlink, "symlink", AT_FDCWD, AT_FDCWD, (const char *from, const char *to), from, to)
