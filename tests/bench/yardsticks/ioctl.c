/*
 * Nanoseconds of one ioctl: "ioctl CALLS" makes so many that succeed and so
 * many that fail, errno read, and prints "OK_NS FAILED_NS".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* VFIO_GET_API_VERSION: a pipe does not know it. */
#define UNKNOWN 0x3b64

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 1000000;
	long wrong = 0;
	int ends[2], count;
	double begun, ok, failed;

	if (pipe(ends) != 0)
		return 1;
	begun = now();
	for (long i = 0; i < calls; i++)
		wrong += ioctl(ends[0], FIONREAD, &count) != 0;
	ok = now() - begun;
	begun = now();
	for (long i = 0; i < calls; i++)
		wrong += ioctl(ends[0], UNKNOWN, &count) != -1 || errno != ENOTTY;
	failed = now() - begun;
	if (wrong != 0) {
		fprintf(stderr, "%ld ioctls answered wrong\n", wrong);
		return 1;
	}
	printf("%.1f %.1f\n", ok / calls, failed / calls);
	return 0;
}
