;; The bitmap's inner loops. JavaScript has no 64-bit integers that are fast in
;; every runtime; WebAssembly has them, with ctz, popcnt and 128-bit vectors.
;;
;; Memory: 0..56 unused, 56..64 the word before the block, 64.. the block.
;; Positions are written wherever the caller says, as u32.
;; Compiled into _bitmap_scan_wasm.ts by tests/_compile_wat.ts.
(module
  (memory (export "memory") 10)

  ;; How many bits are set in the block: `end` is its end, a multiple of 128 bytes away.
  (func (export "count") (param $end i32) (result i32)
    (local $at i32) (local $n i64)
    (local.set $at (i32.const 64))
    (loop $next
      (local.set $n (i64.add (local.get $n)
        (i64.add
          (i64.add (i64.popcnt (i64.load (local.get $at)))
                   (i64.popcnt (i64.load offset=8 (local.get $at))))
          (i64.add (i64.popcnt (i64.load offset=16 (local.get $at)))
                   (i64.popcnt (i64.load offset=24 (local.get $at)))))))
      (local.set $at (i32.add (local.get $at) (i32.const 32)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (i32.wrap_i64 (local.get $n)))

  ;; Of the two words at $at: bit 0 and 1, whether they have a position to write.
  ;; $edges keeps everything (positions are where bits change) or nothing
  ;; (positions are the set bits).
  (func $two (param $at i32) (param $edges v128) (result i32)
    (local $words v128)
    (local.set $words (v128.load (local.get $at)))
    (i64x2.bitmask (i64x2.ne
      (v128.const i64x2 0 0)
      (v128.xor (local.get $words)
        (v128.and (local.get $edges)
          (v128.or (i64x2.shl (local.get $words) (i32.const 1))
                   (i64x2.shr_u (v128.load (i32.sub (local.get $at) (i32.const 8)))
                                (i32.const 63))))))))

  ;; The same of the eight words at $at: bit 0 to 7.
  (func $eight (param $at i32) (param $edges v128) (result i32)
    (i32.or
      (i32.or
        (call $two (local.get $at) (local.get $edges))
        (i32.shl (call $two (i32.add (local.get $at) (i32.const 16)) (local.get $edges))
                 (i32.const 2)))
      (i32.or
        (i32.shl (call $two (i32.add (local.get $at) (i32.const 32)) (local.get $edges))
                 (i32.const 4))
        (i32.shl (call $two (i32.add (local.get $at) (i32.const 48)) (local.get $edges))
                 (i32.const 6)))))

  ;; Whether any of the 64 bytes at $at is not zero: as a vector.
  (func $any64 (param $at i32) (result v128)
    (v128.or
      (v128.or (v128.load (local.get $at)) (v128.load offset=16 (local.get $at)))
      (v128.or (v128.load offset=32 (local.get $at)) (v128.load offset=48 (local.get $at)))))

  ;; Writes positions of the block to $out, in ascending order, counted from
  ;; $base: the set bits ($edges 0), or the bits that differ from the bit before
  ;; them ($edges -1), which are the starts and ends of runs in turn. Returns
  ;; the end of what it wrote; up to 12 bytes behind that are overwritten.
  ;; Keeps the block's last word for the block that follows.
  (func (export "scan")
    (param $end i32) (param $base i32) (param $out i32) (param $edges i32) (result i32)
    (local $at i32) (local $mask i32) (local $word i32) (local $first i32) (local $done i32)
    (local $bits i64) (local $edges64 i64) (local $edges128 v128)
    (local.set $edges64 (i64.extend_i32_s (local.get $edges)))
    (local.set $edges128 (i64x2.splat (local.get $edges64)))
    (local.set $at (i32.const 64))
    (loop $next
      ;; Big steps over zeros: 128 bytes at once, unless a run reaches into them.
      (if (i32.or
            (v128.any_true (v128.or
              (call $any64 (local.get $at))
              (call $any64 (i32.add (local.get $at) (i32.const 64)))))
            (i64.lt_s (i64.load (i32.sub (local.get $at) (i32.const 8))) (i64.const 0)))
        (then
          ;; A bit for each of 16 words: only those that have something are
          ;; visited, with one hard-to-predict branch for all of them.
          (local.set $mask (i32.or
            (call $eight (local.get $at) (local.get $edges128))
            (i32.shl (call $eight (i32.add (local.get $at) (i32.const 64)) (local.get $edges128))
                     (i32.const 8))))
          (if (local.get $mask) (then (loop $visit
            (local.set $word (i32.add (local.get $at)
              (i32.shl (i32.ctz (local.get $mask)) (i32.const 3))))
            (local.set $first (i32.add (local.get $base)
              (i32.shl (i32.ctz (local.get $mask)) (i32.const 6))))
            (local.set $bits (i64.load (local.get $word)))
            (local.set $bits (i64.xor (local.get $bits)
              (i64.and (local.get $edges64)
                (i64.or (i64.shl (local.get $bits) (i64.const 1))
                        (i64.shr_u (i64.load (i32.sub (local.get $word) (i32.const 8)))
                                   (i64.const 63))))))
            (local.set $done (i32.add (local.get $out)
              (i32.shl (i32.wrap_i64 (i64.popcnt (local.get $bits))) (i32.const 2))))
            ;; Four positions a step, wanted or not: cheaper than asking for each.
            (loop $four
              (i32.store (local.get $out)
                (i32.add (local.get $first) (i32.wrap_i64 (i64.ctz (local.get $bits)))))
              (local.set $bits (i64.and (local.get $bits) (i64.sub (local.get $bits) (i64.const 1))))
              (i32.store offset=4 (local.get $out)
                (i32.add (local.get $first) (i32.wrap_i64 (i64.ctz (local.get $bits)))))
              (local.set $bits (i64.and (local.get $bits) (i64.sub (local.get $bits) (i64.const 1))))
              (i32.store offset=8 (local.get $out)
                (i32.add (local.get $first) (i32.wrap_i64 (i64.ctz (local.get $bits)))))
              (local.set $bits (i64.and (local.get $bits) (i64.sub (local.get $bits) (i64.const 1))))
              (i32.store offset=12 (local.get $out)
                (i32.add (local.get $first) (i32.wrap_i64 (i64.ctz (local.get $bits)))))
              (local.set $bits (i64.and (local.get $bits) (i64.sub (local.get $bits) (i64.const 1))))
              (local.set $out (i32.add (local.get $out) (i32.const 16)))
              (br_if $four (i32.lt_u (local.get $out) (local.get $done))))
            (local.set $out (local.get $done))
            (local.set $mask (i32.and (local.get $mask)
              (i32.sub (local.get $mask) (i32.const 1))))
            (br_if $visit (local.get $mask)))))))
      (local.set $base (i32.add (local.get $base) (i32.const 1024)))
      (local.set $at (i32.add (local.get $at) (i32.const 128)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (i64.store (i32.const 56) (i64.load (i32.sub (local.get $end) (i32.const 8))))
    (local.get $out))
)
