/*
 * Saving and restoring as a C program would: the same register accesses, data
 * accesses, CRCs and frames as vfiokit, in one loop with ordinary system calls.
 *
 *   checkpoint save REGION FILE [OFFSET]     checkpoint restore REGION FILE
 *   checkpoint save-v2 DATA FILE [OFFSET]    checkpoint restore-v2 DATA FILE
 *
 * REGION is a file laid out like a v1 migration region; its pending_bytes is
 * what a save yields. DATA is what a v2 device has: a MiB that is read, or
 * written, 1024 times. FILE is new, or `-` for stdout or stdin; with an OFFSET
 * it is there already, and written to from that byte on.
 *
 * Prints on stderr when device_state was first changed, and when the last byte
 * was moved, in seconds by a clock that all processes have in common.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "crc32.h"

/* struct vfio_device_migration_info */
enum { DEVICE_STATE = 0, PENDING_BYTES = 8, DATA_OFFSET = 16, DATA_SIZE = 24 };
enum { STOP = 0, RUNNING = 1, SAVING = 2, RESUMING = 4 };

/* docs/checkpoint-format.md */
enum { HEAD = 0x44414548, DATA = 0x41544144, TAIL = 0x4c494154 };
enum { FRAME_HEADER = 32, DATA_META = 16, MAX_META = 65536, MAX_BODY = 16 << 20, BATCH = 1 << 20 };
enum { V2_READS = 1024 };

static const uint8_t magic[8] = {0x89, 'V', 'F', 'K', '\r', '\n', 0x1a, '\n'};

static uint8_t body[MAX_BODY], head[FRAME_HEADER + MAX_META];
static uint8_t *const meta = head + FRAME_HEADER;
static uint32_t chain, sequence;
static uint64_t stored;

static void must(int truth, const char *what)
{
	if (truth)
		return;
	perror(what);
	exit(1);
}

/* The first change of device_state. */
static double begun;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static uint64_t get_register(int fd, int offset)
{
	uint64_t value;

	must(pread(fd, &value, 8, offset) == 8, "read a register");
	return value;
}

static void set_state(int fd, uint32_t bits)
{
	uint32_t value;

	must(pread(fd, &value, 4, DEVICE_STATE) == 4, "read device_state");
	value = (value & ~7u) | bits;
	must(pwrite(fd, &value, 4, DEVICE_STATE) == 4, "write device_state");
}

static void write_all(int fd, const uint8_t *at, size_t length)
{
	stored += length;
	while (length > 0) {
		ssize_t count = write(fd, at, length);

		must(count > 0, "write the checkpoint");
		at += count;
		length -= count;
	}
}

static void write_frame(int out, uint32_t type, uint32_t meta_length, uint32_t body_length)
{
	uint32_t words[8] = {type, 0, sequence++, meta_length, body_length};

	words[5] = crc32(crc32(0, meta, meta_length), body, body_length);
	words[6] = chain;
	words[7] = crc32(0, words, 28);
	memcpy(head, words, sizeof(words));
	chain = crc32(chain, words, 24);
	write_all(out, head, FRAME_HEADER + meta_length);
	write_all(out, body, body_length);
}

static void write_preamble(int out)
{
	uint8_t bytes[16] = {0};

	memcpy(bytes, magic, 8);
	bytes[8] = 1;
	chain = crc32(0, bytes, 12);
	memcpy(bytes + 12, &chain, 4);
	write_all(out, bytes, sizeof(bytes));
}

static uint32_t *const sizes = (uint32_t *)(head + FRAME_HEADER + DATA_META);

static void write_batch(int out, uint32_t count, uint32_t length)
{
	uint64_t micros = (now() - begun) * 1e6;

	memset(meta, 0, DATA_META);
	meta[0] = 2; /* stop-and-copy */
	memcpy(meta + 4, &count, 4);
	memcpy(meta + 8, &micros, 8);
	write_frame(out, DATA, DATA_META + 4 * count, length);
}

static void write_header(int out, const char *protocol, const char *region)
{
	write_preamble(out);
	write_frame(out, HEAD, sprintf((char *)meta,
		"{\"tool\":\"yardstick\",\"created\":\"2026-01-01T00:00:00Z\",\"complete\":true,"
		"\"digest\":null,\"iovaPageSize\":null,\"devices\":[{\"protocol\":\"%s\",\"bus\":\"unknown\","
		"\"driver\":null,\"vendorId\":null,\"deviceId\":null,\"subsystemVendorId\":null,"
		"\"subsystemId\":null,\"mdevType\":null,\"region\":%s}]}", protocol, region), 0);
}

static void write_tail(int out, uint64_t transactions, uint64_t bytes)
{
	write_frame(out, TAIL, sprintf((char *)meta,
		"{\"complete\":true,\"frames\":%u,\"storedBytes\":%lu,\"transactions\":%lu,\"bytes\":%lu,"
		"\"sha256\":null,\"devices\":[{\"transactions\":%lu,\"bytes\":%lu}]}",
		sequence, stored, transactions, bytes, transactions, bytes), 0);
}

static void save(int region, int out)
{
	uint64_t left = get_register(region, PENDING_BYTES), transactions = 0, bytes = 0;
	uint32_t count = 0, used = 0;

	write_header(out, "v1", "{\"type\":3,\"subtype\":1}");
	begun = now();
	set_state(region, SAVING);
	for (;;) {
		uint64_t offset, size;

		/* The register is read as a driver's would be; the file's does not count down. */
		get_register(region, PENDING_BYTES);
		if (left == 0)
			break;
		offset = get_register(region, DATA_OFFSET);
		size = get_register(region, DATA_SIZE);
		must(size > 0 && size <= BATCH && size <= left, "use data_size");
		if (used + size > BATCH) {
			write_batch(out, count, used);
			count = used = 0;
		}
		must(pread(region, body + used, size, offset) == (ssize_t)size, "read the data");
		sizes[count++] = size;
		used += size;
		left -= size;
		bytes += size;
		transactions++;
	}
	if (count > 0)
		write_batch(out, count, used);
	set_state(region, STOP);
	write_tail(out, transactions, bytes);
}

static void save_v2(int data, int out)
{
	write_header(out, "v2", "null");
	begun = now();
	for (int read = 0; read < V2_READS; read++) {
		must(pread(data, body, BATCH, 0) == BATCH, "read the data");
		sizes[0] = BATCH;
		write_batch(out, 1, BATCH);
	}
	write_tail(out, V2_READS, (uint64_t)V2_READS * BATCH);
}

static void read_all(int fd, uint8_t *at, size_t length)
{
	while (length > 0) {
		ssize_t count = read(fd, at, length);

		must(count > 0, "read the checkpoint");
		at += count;
		length -= count;
	}
}

static uint32_t read_frame(int in, uint32_t *body_length)
{
	uint32_t words[8];

	read_all(in, head, FRAME_HEADER);
	memcpy(words, head, sizeof(words));
	must(words[7] == crc32(0, words, 28) && words[2] == sequence++ && words[6] == chain &&
	     words[3] <= MAX_META && words[4] <= MAX_BODY, "use a frame's header");
	chain = crc32(chain, words, 24);
	read_all(in, meta, words[3]);
	read_all(in, body, words[4]);
	must(words[5] == crc32(crc32(0, meta, words[3]), body, words[4]), "use a frame");
	*body_length = words[4];
	return words[0];
}

static void load_batch(int region, uint32_t length)
{
	uint32_t count, at = 0;

	memcpy(&count, meta + 4, 4);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t offset = get_register(region, DATA_OFFSET), size = sizes[i];

		must(at + size <= length, "use a frame's sizes");
		must(pwrite(region, body + at, size, offset) == (ssize_t)size, "write the data");
		must(pwrite(region, &size, 8, DATA_SIZE) == 8, "write data_size");
		at += size;
	}
}

static void load_v2(int data, uint32_t length)
{
	must(pwrite(data, body, length, 0) == (ssize_t)length, "write the data");
}

static void restore(int device, int in, int v2)
{
	uint8_t preamble[16], after;
	uint32_t length, type;

	read_all(in, preamble, sizeof(preamble));
	chain = crc32(0, preamble, 12);
	must(memcmp(preamble, magic, 8) == 0 && memcmp(preamble + 12, &chain, 4) == 0,
	     "use the preamble");
	must(read_frame(in, &length) == HEAD, "use the header");
	begun = now();
	if (!v2)
		set_state(device, RESUMING);
	while ((type = read_frame(in, &length)) == DATA)
		v2 ? load_v2(device, length) : load_batch(device, length);
	must(type == TAIL && read(in, &after, 1) == 0, "use the end of the checkpoint");
	if (!v2)
		set_state(device, RUNNING);
}

static int open_checkpoint(const char *path, int saves, const char *offset)
{
	int fd, flags = saves ? O_WRONLY : O_RDONLY;

	if (strcmp(path, "-") == 0)
		return saves ? STDOUT_FILENO : STDIN_FILENO;
	if (saves && offset == NULL)
		flags |= O_CREAT | O_EXCL;
	fd = open(path, flags, 0600);
	must(fd >= 0, "open the checkpoint");
	if (offset != NULL)
		must(lseek(fd, atoll(offset), SEEK_SET) >= 0, "go to the offset");
	return fd;
}

int main(int argc, char **argv)
{
	int device, checkpoint, v2, saves;
	double ended;

	if (argc < 4) {
		fprintf(stderr, "usage: checkpoint save|save-v2|restore|restore-v2 DEVICE FILE [OFFSET]\n");
		return 2;
	}
	saves = strncmp(argv[1], "save", 4) == 0;
	v2 = strstr(argv[1], "-v2") != NULL;
	crc_init();
	device = open(argv[2], O_RDWR);
	must(device >= 0, "open the device");
	checkpoint = open_checkpoint(argv[3], saves, argc > 4 ? argv[4] : NULL);
	if (!saves)
		restore(device, checkpoint, v2);
	else if (v2)
		save_v2(device, checkpoint);
	else
		save(device, checkpoint);
	ended = now();
	fprintf(stderr, "%.6f %.6f\n", begun, ended);
	return 0;
}
