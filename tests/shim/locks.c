/* Runs a program on a file system that cannot lock, as some network mounts: for it and all that it
   starts, the kinds of lock that the first argument names ("flock", "fcntl", or both) fail with
   ENOLCK. A filter of system calls, because not all callers go through the C library. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* Goes on with the next line when equal, else jumps over so many. */
#define IS(value, over) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (over))
#define FAIL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOLCK)
#define PASS BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

int main(int count, char **words)
{
    if (count < 3)
        return 2;
    /* A call that is not to fail is compared with a number that no call has. */
    unsigned flock_call = strstr(words[1], "flock") ? SYS_flock : ~0u;
    unsigned fcntl_call = strstr(words[1], "fcntl") ? SYS_fcntl : ~0u;
    struct sock_filter lines[] = {
        LOAD(nr),      IS(flock_call, 1),   FAIL, IS(fcntl_call, 9), LOAD(args[1]),
        IS(F_SETLK, 1), FAIL,               IS(F_SETLKW, 1),         FAIL,
        IS(F_OFD_SETLK, 1), FAIL,           IS(F_OFD_SETLKW, 1),     FAIL,
        PASS,
    };
    struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
        perror("cannot filter system calls");
        return 2;
    }
    execv(words[2], words + 2);
    perror(words[2]);
    return 127;
}
