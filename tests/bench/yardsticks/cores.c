/*
 * "cores COUNT" fills a MiB COUNT times, has it copied each time, and prints how
 * many microseconds a MiB took: all on one core, and with the copy on another
 * one. The other core gets the bytes from the first one's cache.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MIB = 1 << 20 };

static _Alignas(4096) char from[MIB], to[MIB];
static atomic_int filled;
static int count;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* The first or the second of the cores that this process may use. */
static void use_core(int which)
{
	cpu_set_t all, one;

	CPU_ZERO(&one);
	sched_getaffinity(0, sizeof(all), &all);
	for (int core = 0; core < CPU_SETSIZE; core++)
		if (CPU_ISSET(core, &all) && which-- == 0)
			CPU_SET(core, &one);
	if (CPU_COUNT(&one) == 0 || pthread_setaffinity_np(pthread_self(), sizeof(one), &one) != 0) {
		fprintf(stderr, "there are no two cores\n");
		exit(1);
	}
}

static void copy(void)
{
	memcpy(to, from, MIB);
	/* For all that the compiler knows, somebody reads it. */
	__asm__ volatile("" ::"r"(to) : "memory");
}

static void *copy_elsewhere(void *unused)
{
	use_core(*(int *)unused);
	for (int i = 0; i < count; i++) {
		while (atomic_load(&filled) == 0)
			;
		copy();
		atomic_store(&filled, 0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t other;
	double begun, alone;
	int second = 1;

	count = argc > 1 ? atoi(argv[1]) : 0;
	if (count < 1)
		return 2;
	if (pthread_create(&other, NULL, copy_elsewhere, &second) != 0)
		return 1;
	use_core(0);
	begun = now();
	for (int i = 0; i < count; i++) {
		memset(from, i, MIB);
		copy();
	}
	alone = now() - begun;
	begun = now();
	for (int i = 0; i < count; i++) {
		memset(from, i, MIB);
		atomic_store(&filled, 1);
		while (atomic_load(&filled) != 0)
			;
	}
	printf("%.1f %.1f\n", alone / count, (now() - begun) / count);
	pthread_join(other, NULL);
	return 0;
}
