/*
 * Two processes and a stream socket of the Unix domain between them.
 *
 *     socket turns N      N requests of 24 bytes, each answered by 32: prints microseconds a turn
 *     socket copy BYTES   so many bytes, 1 MiB a call: prints seconds
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (1 << 20)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void demand(int ok)
{
    if (!ok) {
        perror("socket");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    int fds[2];
    char *buffer = malloc(CHUNK);
    demand(argc == 3 && buffer != NULL);
    memset(buffer, 1, CHUNK);
    int turns = strcmp(argv[1], "turns") == 0;
    long long most = atoll(argv[2]);
    demand(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    pid_t child = fork();
    demand(child >= 0);
    if (child == 0) {
        close(fds[0]);
        for (long long done = 0; done < most;) {
            if (turns) {
                demand(recv(fds[1], buffer, 24, MSG_WAITALL) == 24);
                demand(send(fds[1], buffer, 32, 0) == 32);
                done++;
            } else {
                ssize_t sent = write(fds[1], buffer, CHUNK);
                demand(sent > 0);
                done += sent;
            }
        }
        _exit(0);
    }
    close(fds[1]);
    double begun = now();
    for (long long done = 0; done < most;) {
        if (turns) {
            demand(send(fds[0], buffer, 24, 0) == 24);
            demand(recv(fds[0], buffer, 32, MSG_WAITALL) == 32);
            done++;
        } else {
            ssize_t got = read(fds[0], buffer, CHUNK);
            demand(got > 0);
            done += got;
        }
    }
    double seconds = now() - begun;
    printf("%.9f\n", turns ? seconds * 1e6 / most : seconds);
    waitpid(child, NULL, 0);
    return 0;
}
