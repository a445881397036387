/* What C does with a dirty bitmap: plain loops over words of 64 bits. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

uint32_t is_empty(const uint64_t *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (words[i])
			return 0;
	return 1;
}

/* No plain loop: libc's own vectors. What the memory itself can give. */
uint32_t is_empty_memcmp(const uint64_t *words, size_t count)
{
	static const char zeros[65536];
	const char *bytes = (const char *)words;

	for (size_t at = 0; at < count * 8; at += sizeof(zeros))
		if (memcmp(bytes + at, zeros, sizeof(zeros)))
			return 0;
	return 1;
}

uint32_t count_set(const uint64_t *words, size_t count)
{
	uint32_t set = 0;

	for (size_t i = 0; i < count; i++)
		set += __builtin_popcountll(words[i]);
	return set;
}

uint32_t fold_pages(const uint64_t *words, size_t count)
{
	uint32_t fold = 0;

	for (size_t i = 0; i < count; i++)
		for (uint64_t word = words[i]; word; word &= word - 1)
			fold ^= i * 64 + __builtin_ctzll(word);
	return fold;
}

uint32_t fold_runs(const uint64_t *words, size_t count)
{
	uint64_t start = 0, end = 0;
	uint32_t fold = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t word = words[i];

		while (word) {
			uint64_t first = i * 64 + __builtin_ctzll(word);
			/* The carry runs through the ones and stops behind them. */
			uint64_t rest = word + (word & -word);

			if (first != end) {
				fold ^= start - (end - start);
				start = first;
			}
			end = i * 64 + (rest ? __builtin_ctzll(rest) : 64);
			word &= rest;
		}
	}
	return fold ^ (start - (end - start));
}
