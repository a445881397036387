/*
 * CRC-32 (IEEE, reflected), as zlib's crc32: folded by carry-less
 * multiplication, as wide as the machine can (-march=native), so that the
 * yardstick is no slower than what the runtimes have.
 */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__) && defined(__VPCLMULQDQ__)
typedef __m512i crc_vec;
#define CRC_LOAD(at) _mm512_loadu_si512(at)
#define CRC_STORE(at, x) _mm512_storeu_si512(at, x)
#define CRC_XOR(a, b) _mm512_xor_si512(a, b)
#define CRC_MULTIPLY(a, b, halves) _mm512_clmulepi64_epi128(a, b, halves)
#define CRC_FIRST(word) _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)(word)))
#define CRC_PAIR(high, low) _mm512_broadcast_i32x4(_mm_set_epi64x((long long)(high), (long long)(low)))
#elif defined(__PCLMUL__)
typedef __m128i crc_vec;
#define CRC_LOAD(at) _mm_loadu_si128((const __m128i *)(at))
#define CRC_STORE(at, x) _mm_storeu_si128((__m128i *)(at), x)
#define CRC_XOR(a, b) _mm_xor_si128(a, b)
#define CRC_MULTIPLY(a, b, halves) _mm_clmulepi64_si128(a, b, halves)
#define CRC_FIRST(word) _mm_cvtsi32_si128((int)(word))
#define CRC_PAIR(high, low) _mm_set_epi64x((long long)(high), (long long)(low))
#else
#error "the yardstick needs an x86-64 with PCLMULQDQ: a slower CRC would flatter what is measured"
#endif

/* Vectors that are folded at a time. */
#define CRC_LANES 4

static uint32_t crc_table[256];
static crc_vec crc_by_lane, crc_by_all;

/* x to the power n, modulo the polynomial, as the multiplication wants it. */
static uint64_t crc_power(unsigned n)
{
	uint32_t c = 0x80000000u;

	while (n--)
		c = c & 1 ? (c >> 1) ^ 0xedb88320u : c >> 1;
	return (uint64_t)c << 1;
}

/* What moves a vector on by so many bits. */
static crc_vec crc_distance(unsigned bits)
{
	return CRC_PAIR(crc_power(bits - 32), crc_power(bits + 32));
}

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? (c >> 1) ^ 0xedb88320u : c >> 1;
		crc_table[i] = c;
	}
	crc_by_lane = crc_distance(8 * sizeof(crc_vec));
	crc_by_all = crc_distance(8 * sizeof(crc_vec) * CRC_LANES);
}

static uint32_t crc_bytes(uint32_t crc, const uint8_t *at, size_t length)
{
	while (length--)
		crc = (crc >> 8) ^ crc_table[(crc ^ *at++) & 0xff];
	return crc;
}

static inline crc_vec crc_fold(crc_vec x, crc_vec next, crc_vec distance)
{
	return CRC_XOR(CRC_XOR(CRC_MULTIPLY(x, distance, 0x00), CRC_MULTIPLY(x, distance, 0x11)),
		       next);
}

static uint32_t crc32(uint32_t crc, const void *bytes, size_t length)
{
	const size_t step = sizeof(crc_vec) * CRC_LANES;
	const uint8_t *at = bytes;

	crc = ~crc;
	if (length >= step) {
		uint8_t folded[sizeof(crc_vec)];
		crc_vec x[CRC_LANES];

		for (int i = 0; i < CRC_LANES; i++)
			x[i] = CRC_LOAD(at + i * sizeof(crc_vec));
		x[0] = CRC_XOR(x[0], CRC_FIRST(crc));
		for (at += step, length -= step; length >= step; at += step, length -= step)
#pragma GCC unroll 4
			for (int i = 0; i < CRC_LANES; i++)
				x[i] = crc_fold(x[i], CRC_LOAD(at + i * sizeof(crc_vec)), crc_by_all);
		for (int i = 1; i < CRC_LANES; i++)
			x[0] = crc_fold(x[0], x[i], crc_by_lane);
		CRC_STORE(folded, x[0]);
		crc = crc_bytes(0, folded, sizeof(folded));
	}
	return ~crc_bytes(crc, at, length);
}
