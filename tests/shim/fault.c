/*
 * A library for LD_PRELOAD that counts the calls by which a program changes files below one directory,
 * and lets the n-th of them fail, or ends the process there.
 *
 * Only what goes through libc is seen, which is all that Rust's standard library and SQLite do. Nothing is
 * changed while no variable asks for it. `src/shim.rs` is the Rust side of this page.
 *
 *   FAULT_UNDER   the directory; without it nothing is counted
 *   FAULT_COUNTER a file of at least 16 bytes: two 64-bit numbers, the calls so far, of all processes with
 *                 this library, and the faults so far
 *   FAULT_AT      the number of the call that fails, from 1; 0 = none
 *   FAULT         what happens to it:
 *     enospc-once   no space left, this once
 *     enospc        half of it is written, then no space is left for anything until FAULT_HEAL exists;
 *                   what needs no space (unlink, shortening, syncing) works on
 *     eio-once      an I/O error, this once
 *     eio-sync      an I/O error of the first fsync or fdatasync from here on, once
 *     kill          SIGKILL in place of the call
 *     killafter     SIGKILL after the call
 *   FAULT_HEAL    see enospc
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { KIND_WRITE, KIND_GROW, KIND_MAKE, KIND_MOVE, KIND_SYNC, KIND_FREE };
enum fault { NONE, ENOSPC_ONCE, ENOSPC_ON, EIO_ONCE, EIO_SYNC, KILL, KILL_AFTER };
/* What is to be done with a call. */
enum verdict { PASS, FAIL, HALF, DIE_AFTER };

struct counter {
    _Atomic uint64_t calls;
    _Atomic uint64_t faults;
};

static enum fault fault;
static uint64_t fault_at;
static char under[PATH_MAX];
static size_t under_length;
static const char *heal;
static struct counter own;
static struct counter *counter = &own;
static _Atomic int healed;

/* What is known of a descriptor: 0 nothing yet, 1 below the directory, 2 elsewhere. */
#define DESCRIPTORS 4096
static _Atomic char places[DESCRIPTORS];

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

static enum fault named(const char *name) {
    static const char *names[] = {"", "enospc-once", "enospc", "eio-once", "eio-sync", "kill", "killafter"};
    for (size_t i = 1; name && i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return (enum fault)i;
    return NONE;
}

__attribute__((constructor)) static void begin(void) {
    const char *value = getenv("FAULT_UNDER");
    if (value && strlen(value) < sizeof under) {
        strcpy(under, value);
        under_length = strlen(under);
    }
    value = getenv("FAULT_AT");
    fault_at = value ? strtoull(value, NULL, 10) : 0;
    fault = named(getenv("FAULT"));
    heal = getenv("FAULT_HEAL");
    value = getenv("FAULT_COUNTER");
    int file = value ? (int)syscall(SYS_openat, AT_FDCWD, value, O_RDWR | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *shared = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (shared != MAP_FAILED)
            counter = shared;
        syscall(SYS_close, file);
    }
}

static int is_below(const char *path) {
    return under_length && !strncmp(path, under, under_length)
        && (path[under_length] == '/' || !path[under_length]);
}

static int descriptor_is_below(int fd) {
    if (!under_length || fd < 0)
        return 0;
    char known = fd < DESCRIPTORS ? atomic_load(&places[fd]) : 0;
    if (!known) {
        char link[64], path[PATH_MAX];
        int length = 0;
        memcpy(link, "/proc/self/fd/", 14);
        char digits[16];
        int rest = fd, count = 0;
        do digits[count++] = (char)('0' + rest % 10); while (rest /= 10);
        while (count) link[14 + length++] = digits[--count];
        link[14 + length] = 0;
        ssize_t end = readlink(link, path, sizeof path - 1);
        path[end > 0 ? end : 0] = 0;
        known = is_below(path) ? 1 : 2;
        if (fd < DESCRIPTORS)
            atomic_store(&places[fd], known);
    }
    return known == 1;
}

/* Relative names are none of the daemon's: it names its files by absolute paths. */
static int name_is_below(int directory, const char *path) {
    return path && (path[0] == '/' ? is_below(path) : directory != AT_FDCWD && descriptor_is_below(directory));
}

static int is_healed(void) {
    if (!atomic_load(&healed) && heal && !syscall(SYS_faccessat, AT_FDCWD, heal, F_OK))
        atomic_store(&healed, 1);
    return atomic_load(&healed);
}

static enum verdict fail_with(int error) {
    atomic_fetch_add(&counter->faults, 1);
    errno = error;
    return FAIL;
}

/* Counts one call, and says what is to become of it. */
static enum verdict judge(enum kind kind) {
    uint64_t number = atomic_fetch_add(&counter->calls, 1) + 1;
    if (!fault_at || number < fault_at)
        return PASS;
    int here = number == fault_at;
    switch (fault) {
    case ENOSPC_ONCE:
        return here && kind != KIND_SYNC && kind != KIND_FREE ? fail_with(ENOSPC) : PASS;
    case ENOSPC_ON:
        if (kind == KIND_SYNC || kind == KIND_FREE || is_healed())
            return PASS;
        fail_with(ENOSPC);
        return here && kind == KIND_WRITE ? HALF : FAIL;
    case EIO_ONCE:
        return here ? fail_with(EIO) : PASS;
    case EIO_SYNC:
        return kind == KIND_SYNC && !atomic_load(&counter->faults) ? fail_with(EIO) : PASS;
    case KILL:
        if (here) {
            atomic_fetch_add(&counter->faults, 1);
            syscall(SYS_kill, getpid(), SIGKILL);
        }
        return PASS;
    case KILL_AFTER:
        if (here)
            atomic_fetch_add(&counter->faults, 1);
        return here ? DIE_AFTER : PASS;
    case NONE:
        break;
    }
    return PASS;
}

/* The rest of a call that was judged. */
#define CARRY_OUT(verdict, call) do { \
        if ((verdict) == FAIL) return -1; \
        __typeof__(call) result_ = (call); \
        if ((verdict) == DIE_AFTER) syscall(SYS_kill, getpid(), SIGKILL); \
        return result_; \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    if (!descriptor_is_below(fd))
        return REAL(write)(fd, bytes, count);
    enum verdict verdict = judge(KIND_WRITE);
    if (verdict == HALF) {
        if (count < 2) { errno = ENOSPC; return -1; }
        return REAL(write)(fd, bytes, count / 2);
    }
    CARRY_OUT(verdict, REAL(write)(fd, bytes, count));
}

static ssize_t write_at(int fd, const void *bytes, size_t count, off64_t at) {
    if (!descriptor_is_below(fd))
        return REAL(pwrite64)(fd, bytes, count, at);
    enum verdict verdict = judge(KIND_WRITE);
    if (verdict == HALF) {
        if (count < 2) { errno = ENOSPC; return -1; }
        return REAL(pwrite64)(fd, bytes, count / 2, at);
    }
    CARRY_OUT(verdict, REAL(pwrite64)(fd, bytes, count, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return write_at(fd, bytes, count, at); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return write_at(fd, bytes, count, at); }

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    if (!descriptor_is_below(fd))
        return REAL(writev)(fd, pieces, count);
    enum verdict verdict = judge(KIND_WRITE);
    if (verdict == HALF) { errno = ENOSPC; return -1; }
    CARRY_OUT(verdict, REAL(writev)(fd, pieces, count));
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t at) {
    if (!descriptor_is_below(fd))
        return REAL(pwritev64)(fd, pieces, count, at);
    enum verdict verdict = judge(KIND_WRITE);
    if (verdict == HALF) { errno = ENOSPC; return -1; }
    CARRY_OUT(verdict, REAL(pwritev64)(fd, pieces, count, at));
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at) { return pwritev64(fd, pieces, count, at); }

int fsync(int fd) {
    if (!descriptor_is_below(fd))
        return REAL(fsync)(fd);
    enum verdict verdict = judge(KIND_SYNC);
    CARRY_OUT(verdict, REAL(fsync)(fd));
}

int fdatasync(int fd) {
    if (!descriptor_is_below(fd))
        return REAL(fdatasync)(fd);
    enum verdict verdict = judge(KIND_SYNC);
    CARRY_OUT(verdict, REAL(fdatasync)(fd));
}

static int resize(int fd, off64_t length) {
    if (!descriptor_is_below(fd))
        return REAL(ftruncate64)(fd, length);
    struct stat64 now;
    int shorter = !fstat64(fd, &now) && length <= now.st_size;
    enum verdict verdict = judge(shorter ? KIND_FREE : KIND_GROW);
    CARRY_OUT(verdict == HALF ? FAIL : verdict, REAL(ftruncate64)(fd, length));
}

int ftruncate64(int fd, off64_t length) { return resize(fd, length); }
int ftruncate(int fd, off_t length) { return resize(fd, length); }

static int allocate(int fd, int mode, off64_t at, off64_t length) {
    if (!descriptor_is_below(fd))
        return REAL(fallocate64)(fd, mode, at, length);
    enum verdict verdict = judge(KIND_GROW);
    CARRY_OUT(verdict, REAL(fallocate64)(fd, mode, at, length));
}

int fallocate64(int fd, int mode, off64_t at, off64_t length) { return allocate(fd, mode, at, length); }
int fallocate(int fd, int mode, off_t at, off_t length) { return allocate(fd, mode, at, length); }

/* These two tell their errors as a result. */
int posix_fallocate64(int fd, off64_t at, off64_t length) {
    if (!descriptor_is_below(fd))
        return REAL(posix_fallocate64)(fd, at, length);
    int before = errno;
    enum verdict verdict = judge(KIND_GROW);
    int result = verdict == FAIL ? errno : REAL(posix_fallocate64)(fd, at, length);
    errno = before;
    if (verdict == DIE_AFTER)
        syscall(SYS_kill, getpid(), SIGKILL);
    return result;
}

int posix_fallocate(int fd, off_t at, off_t length) { return posix_fallocate64(fd, at, length); }

static int open_at(int directory, const char *path, int flags, mode_t mode) {
    int below = name_is_below(directory, path);
    enum verdict verdict = PASS;
    /* Opening what is there changes nothing. */
    int missing = (flags & O_CREAT) && below && syscall(SYS_faccessat, directory, path, F_OK);
    if (missing)
        verdict = judge(KIND_MAKE);
    if (verdict == FAIL)
        return -1;
    int fd = REAL(openat64)(directory, path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS)
        atomic_store(&places[fd], 0);
    /* Resolved now, while the name is what it was opened by. */
    if (fd >= 0)
        descriptor_is_below(fd);
    if (verdict == DIE_AFTER)
        syscall(SYS_kill, getpid(), SIGKILL);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name, parameters, directory, more) \
    int name parameters { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = mode_of(flags, arguments); \
        va_end(arguments); \
        return open_at(directory, path, flags | more, mode); \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD, 0)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, O_LARGEFILE)
OPEN(openat, (int directory, const char *path, int flags, ...), directory, 0)
OPEN(openat64, (int directory, const char *path, int flags, ...), directory, O_LARGEFILE)

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS)
        atomic_store(&places[fd], 0);
    return REAL(close)(fd);
}

int rename(const char *from, const char *to) {
    if (!name_is_below(AT_FDCWD, to))
        return REAL(rename)(from, to);
    enum verdict verdict = judge(KIND_MOVE);
    CARRY_OUT(verdict, REAL(rename)(from, to));
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    if (!name_is_below(to_directory, to))
        return REAL(renameat)(from_directory, from, to_directory, to);
    enum verdict verdict = judge(KIND_MOVE);
    CARRY_OUT(verdict, REAL(renameat)(from_directory, from, to_directory, to));
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
    if (!name_is_below(to_directory, to))
        return REAL(renameat2)(from_directory, from, to_directory, to, flags);
    enum verdict verdict = judge(KIND_MOVE);
    CARRY_OUT(verdict, REAL(renameat2)(from_directory, from, to_directory, to, flags));
}

int unlink(const char *path) {
    if (!name_is_below(AT_FDCWD, path))
        return REAL(unlink)(path);
    enum verdict verdict = judge(KIND_FREE);
    CARRY_OUT(verdict, REAL(unlink)(path));
}

int unlinkat(int directory, const char *path, int flags) {
    if (!name_is_below(directory, path))
        return REAL(unlinkat)(directory, path, flags);
    enum verdict verdict = judge(KIND_FREE);
    CARRY_OUT(verdict, REAL(unlinkat)(directory, path, flags));
}
