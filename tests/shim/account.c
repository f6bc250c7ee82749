/* The password database names the directory in QUIRE_TEST_ACCOUNT as every user's home: a test that
   leaves QUIRE_HOME unset must not touch the real one's state. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <stdlib.h>

int getpwuid_r(uid_t uid, struct passwd *entry, char *room, size_t size, struct passwd **found)
{
    int (*next)(uid_t, struct passwd *, char *, size_t, struct passwd **) =
        dlsym(RTLD_NEXT, "getpwuid_r");
    int result = next(uid, entry, room, size, found);
    char *home = getenv("QUIRE_TEST_ACCOUNT");
    if (result == 0 && *found != NULL && home != NULL)
        (*found)->pw_dir = home;
    return result;
}
