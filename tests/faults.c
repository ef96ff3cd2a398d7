/* A disk that fails on demand: preloaded (LD_PRELOAD) into a process, it makes chosen file operations fail.
 *
 * Counted are the calls by which a process changes what lies under one watched folder: opening a file for writing,
 * writing, syncing, renaming, resizing, reserving, copying, making folders. Call number n, counted from the moment of
 * arming, is refused with a chosen errno, or the process is killed there: in the middle of it if it writes several
 * bytes, else just before. Everything else goes through.
 *
 * ENOSPC behaves like a disk that is full from then on: call n, if it writes several bytes, takes half of them and says
 * so, as a real disk does with its last block; whatever would need more space after that fails too, until disarmed.
 *
 * Not seen: system calls made without the C library (as Rust's rustix does to rename), writing through a memory map,
 * io_uring, stdio (fopen, fwrite: its calls inside the C library cannot be interposed), unlink and rmdir (so that
 * cleaning up succeeds), and symbolic links inside the watched folder.
 *
 * Compiled and driven by faults.py.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Looked up on each call: another library's constructor may write before ours could run. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSED(error) (errno = (error), -1)

enum kind { OTHER, NEEDS_SPACE };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char watched[PATH_MAX]; /* real path without a slash at its end; empty: nothing is watched */
static long count, target, struck;
static int error_to_give;
static int full; /* the disk-full fault has struck and lasts */
static char *trace;
static size_t trace_used, trace_size;

static void note(const char *operation, const char *path, const char *what)
{
    char line[PATH_MAX + 128];
    int written = snprintf(line, sizeof line, "%ld %s %s%s\n", count, operation, path + strlen(watched), what);
    size_t length = written < 0 ? 0 : (size_t)written < sizeof line ? (size_t)written : sizeof line - 1;
    if (trace_used + length + 1 > trace_size) {
        size_t size = trace_size ? trace_size * 2 : 1 << 16;
        char *larger = realloc(trace, size);
        if (larger == NULL)
            return;
        trace = larger;
        trace_size = size;
    }
    memcpy(trace + trace_used, line, length + 1);
    trace_used += length;
}

static int under(const char *path)
{
    size_t length = strlen(watched);
    return length && strncmp(path, watched, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Put the real path of an open file into `path`; return whether it is watched. */
static int watches_fd(int fd, char *path)
{
    char link[64];
    if (!watched[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return under(path);
}

/* The same for a name, which need not be there yet, relative to the folder that is open as `at`. */
static int watches_name(int at, const char *name, char *path)
{
    char folder[PATH_MAX] = "", whole[2 * PATH_MAX], *slash;
    if (!watched[0] || name == NULL)
        return 0;
    if (name[0] != '/') {
        if (at == AT_FDCWD) {
            if (getcwd(folder, sizeof folder) == NULL)
                return 0;
        } else {
            watches_fd(at, folder);
        }
    }
    snprintf(whole, sizeof whole, "%s%s%s", folder, folder[0] ? "/" : "", name);
    while ((slash = strrchr(whole, '/')) != NULL && slash[1] == '\0' && slash != whole)
        *slash = '\0';
    if (slash != NULL && slash != whole) {
        *slash = '\0';
        if (realpath(whole, folder) == NULL)
            snprintf(folder, sizeof folder, "%.*s", PATH_MAX - 1, whole);
        *slash = '/';
        snprintf(path, PATH_MAX, "%.*s%.*s", PATH_MAX / 2, folder, PATH_MAX / 2 - 1, slash);
    } else {
        snprintf(path, PATH_MAX, "%.*s", PATH_MAX - 1, whole);
    }
    return under(path);
}

enum part { WHOLE, HALF, HALF_THEN_DIE };

static void die(void)
{
    kill(getpid(), -error_to_give);
    for (;;)
        pause(); /* the signal is on its way */
}

/* Count a watched call; return the errno with which to refuse it, or 0. `part` (NULL where the call cannot be halved)
 * says how much of it is to be done. */
static int decide(const char *operation, const char *path, enum kind kind, enum part *part)
{
    int error = 0;
    char what[96] = "";
    pthread_mutex_lock(&mutex);
    count++;
    if (full && kind == NEEDS_SPACE) {
        error = ENOSPC;
    } else if (target && count == target && error_to_give < 0) {
        if (part == NULL)
            die();
        *part = HALF_THEN_DIE;
    } else if (target && count == target) {
        full = error_to_give == ENOSPC;
        struck = 1;
        if (full && part != NULL) {
            *part = HALF;
            strcpy(what, "  <- half of it");
        } else {
            error = error_to_give;
        }
    }
    if (error)
        snprintf(what, sizeof what, "  <- %s", strerror(error));
    note(operation, path, what);
    pthread_mutex_unlock(&mutex);
    return error;
}

/* ---- what Python calls ---- */

void faults_disarm(void)
{
    pthread_mutex_lock(&mutex);
    target = 0;
    full = 0;
    pthread_mutex_unlock(&mutex);
}

/* Count anew; refuse call number n with an errno, or kill the process there with the signal -errno. n = 0: none. */
void faults_arm(long n, int error)
{
    pthread_mutex_lock(&mutex);
    count = struck = 0;
    full = 0;
    target = n;
    error_to_give = error;
    trace_used = 0;
    if (trace != NULL)
        trace[0] = '\0';
    pthread_mutex_unlock(&mutex);
}

/* Watch what lies under a folder that exists; NULL or "": nothing. Return 0, or -1 if there is no such folder. */
int faults_watch(const char *folder)
{
    faults_arm(0, 0);
    watched[0] = '\0';
    if (folder == NULL || !folder[0])
        return 0;
    char real[PATH_MAX];
    if (realpath(folder, real) == NULL)
        return -1;
    strcpy(watched, real);
    return 0;
}

/* Watched calls since arming. */
long faults_count(void) { return count; }

/* 1 if the fault has struck since arming, else 0. */
long faults_struck(void) { return struck; }

/* Those calls, one a line: number, operation, path below the watched folder, what was done to it. */
const char *faults_trace(void) { return trace == NULL ? "" : trace; }

/* ---- what is interposed ---- */

#define WRITES_TO(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & O_CREAT))
#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

#define DEFINE_OPEN(name)                                                                                              \
    int name(const char *file, int flags, ...)                                                                         \
    {                                                                                                                  \
        char path[PATH_MAX];                                                                                           \
        int error;                                                                                                     \
        MODE(flags)                                                                                                    \
        if (WRITES_TO(flags) && watches_name(AT_FDCWD, file, path) && (error = decide(#name, path, OTHER, NULL)))      \
            return REFUSED(error);                                                                                     \
        return REAL(name)(file, flags, mode);                                                                          \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                                                            \
    int name(int at, const char *file, int flags, ...)                                                                 \
    {                                                                                                                  \
        char path[PATH_MAX];                                                                                           \
        int error;                                                                                                     \
        MODE(flags)                                                                                                    \
        if (WRITES_TO(flags) && watches_name(at, file, path) && (error = decide(#name, path, OTHER, NULL)))            \
            return REFUSED(error);                                                                                     \
        return REAL(name)(at, file, flags, mode);                                                                      \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* A call on an open file: refused or passed on. */
#define ON_FD(name, fd, kind, pass_on)                                                                                 \
    {                                                                                                                  \
        char path[PATH_MAX];                                                                                           \
        int error;                                                                                                     \
        if (watches_fd(fd, path) && (error = decide(#name, path, kind, NULL)))                                         \
            return REFUSED(error);                                                                                     \
        return pass_on;                                                                                                \
    }

/* The same for a call that writes `size` bytes, which may be halved. */
#define WRITING(name, fd, size, pass_on)                                                                               \
    {                                                                                                                  \
        char path[PATH_MAX];                                                                                           \
        int error;                                                                                                     \
        enum part part = WHOLE;                                                                                        \
        if (watches_fd(fd, path) && (error = decide(#name, path, NEEDS_SPACE, size > 1 ? &part : NULL)))               \
            return REFUSED(error);                                                                                     \
        if (part != WHOLE)                                                                                             \
            size /= 2;                                                                                                 \
        ssize_t written = pass_on;                                                                                     \
        if (part == HALF_THEN_DIE)                                                                                     \
            die();                                                                                                     \
        return written;                                                                                                \
    }

ssize_t write(int fd, const void *data, size_t size) WRITING(write, fd, size, REAL(write)(fd, data, size))
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
    WRITING(pwrite, fd, size, REAL(pwrite)(fd, data, size, offset))
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
    WRITING(pwrite64, fd, size, REAL(pwrite64)(fd, data, size, offset))

/* Vectors are refused whole. */
ssize_t writev(int fd, const struct iovec *vectors, int n)
    ON_FD(writev, fd, NEEDS_SPACE, REAL(writev)(fd, vectors, n))
ssize_t pwritev(int fd, const struct iovec *vectors, int n, off_t offset)
    ON_FD(pwritev, fd, NEEDS_SPACE, REAL(pwritev)(fd, vectors, n, offset))
ssize_t pwritev64(int fd, const struct iovec *vectors, int n, off64_t offset)
    ON_FD(pwritev64, fd, NEEDS_SPACE, REAL(pwritev64)(fd, vectors, n, offset))
ssize_t sendfile(int out, int in, off_t *offset, size_t size)
    ON_FD(sendfile, out, NEEDS_SPACE, REAL(sendfile)(out, in, offset, size))
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size)
    ON_FD(sendfile64, out, NEEDS_SPACE, REAL(sendfile64)(out, in, offset, size))
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags)
    ON_FD(copy_file_range, out, NEEDS_SPACE, REAL(copy_file_range)(in, from, out, to, size, flags))
int fallocate(int fd, int mode, off_t offset, off_t size)
    ON_FD(fallocate, fd, NEEDS_SPACE, REAL(fallocate)(fd, mode, offset, size))
int fallocate64(int fd, int mode, off64_t offset, off64_t size)
    ON_FD(fallocate64, fd, NEEDS_SPACE, REAL(fallocate64)(fd, mode, offset, size))
int ftruncate(int fd, off_t size) ON_FD(ftruncate, fd, OTHER, REAL(ftruncate)(fd, size))
int ftruncate64(int fd, off64_t size) ON_FD(ftruncate64, fd, OTHER, REAL(ftruncate64)(fd, size))
int fsync(int fd) ON_FD(fsync, fd, OTHER, REAL(fsync)(fd))
int fdatasync(int fd) ON_FD(fdatasync, fd, OTHER, REAL(fdatasync)(fd))

/* These two return the error instead of setting errno. */
#define DEFINE_POSIX_FALLOCATE(name, offset_type)                                                                      \
    int name(int fd, offset_type offset, offset_type size)                                                             \
    {                                                                                                                  \
        char path[PATH_MAX];                                                                                           \
        int error = 0;                                                                                                 \
        if (watches_fd(fd, path) && (error = decide(#name, path, NEEDS_SPACE, NULL)))                                  \
            return error;                                                                                              \
        return REAL(name)(fd, offset, size);                                                                           \
    }
DEFINE_POSIX_FALLOCATE(posix_fallocate, off_t)
DEFINE_POSIX_FALLOCATE(posix_fallocate64, off64_t)

static int decide_rename(const char *operation, int old_at, const char *old, int new_at, const char *new)
{
    char path[PATH_MAX];
    int watches = watches_name(new_at, new, path) || watches_name(old_at, old, path);
    return watches ? decide(operation, path, OTHER, NULL) : 0;
}

int rename(const char *old, const char *new)
{
    int error = decide_rename("rename", AT_FDCWD, old, AT_FDCWD, new);
    return error ? REFUSED(error) : REAL(rename)(old, new);
}

int renameat(int old_at, const char *old, int new_at, const char *new)
{
    int error = decide_rename("renameat", old_at, old, new_at, new);
    return error ? REFUSED(error) : REAL(renameat)(old_at, old, new_at, new);
}

int renameat2(int old_at, const char *old, int new_at, const char *new, unsigned flags)
{
    int error = decide_rename("renameat2", old_at, old, new_at, new);
    return error ? REFUSED(error) : REAL(renameat2)(old_at, old, new_at, new, flags);
}

int mkdir(const char *folder, mode_t mode)
{
    char path[PATH_MAX];
    int error = watches_name(AT_FDCWD, folder, path) ? decide("mkdir", path, OTHER, NULL) : 0;
    return error ? REFUSED(error) : REAL(mkdir)(folder, mode);
}

int mkdirat(int at, const char *folder, mode_t mode)
{
    char path[PATH_MAX];
    int error = watches_name(at, folder, path) ? decide("mkdirat", path, OTHER, NULL) : 0;
    return error ? REFUSED(error) : REAL(mkdirat)(at, folder, mode);
}
