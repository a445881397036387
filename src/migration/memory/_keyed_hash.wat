;; NH, the hash that UMAC (RFC 4418) begins with, of one page under a secret key.
;;
;; The page and the key are words of 32 bits. A word of the key is added to each word of the page,
;; modulo 2^32. Of each eight words 0 and 4, 1 and 5, 2 and 6, 3 and 7 are multiplied, to 64 bits,
;; and all products are added up, modulo 2^64. This is done four times, each time with the key four
;; words further on. Two different pages have the same sum for one key in 2^32 at most, and the
;; same four for one in 2^128.
;;
;; Memory: 0..4144 the key, 4160..4192 the four sums, 8192.. the pages.
;; Compiled into _keyed_hash_wasm.ts by tests/_compile_wat.ts.
(module
  (memory (export "memory") 2)

  ;; Hashes the page at $page.
  (func (export "hash") (param $page i32)
    (local $at i32)
    ;; The page's words 0 to 3 and 4 to 7, the key's from the same place on, and their sums.
    (local $low v128) (local $high v128) (local $key v128) (local $next v128)
    (local $a v128) (local $b v128)
    (local $sum0 v128) (local $sum1 v128) (local $sum2 v128) (local $sum3 v128)
    (loop $words
      (local.set $low (v128.load (local.get $page)))
      (local.set $high (v128.load offset=16 (local.get $page)))
      (local.set $next (v128.load (local.get $at)))
      (local.set $key (local.get $next))
      (local.set $next (v128.load offset=16 (local.get $at)))
      (local.set $a (i32x4.add (local.get $low) (local.get $key)))
      (local.set $b (i32x4.add (local.get $high) (local.get $next)))
      (local.set $sum0 (i64x2.add (local.get $sum0) (i64x2.add
        (i64x2.extmul_low_i32x4_u (local.get $a) (local.get $b))
        (i64x2.extmul_high_i32x4_u (local.get $a) (local.get $b)))))
      (local.set $key (local.get $next))
      (local.set $next (v128.load offset=32 (local.get $at)))
      (local.set $a (i32x4.add (local.get $low) (local.get $key)))
      (local.set $b (i32x4.add (local.get $high) (local.get $next)))
      (local.set $sum1 (i64x2.add (local.get $sum1) (i64x2.add
        (i64x2.extmul_low_i32x4_u (local.get $a) (local.get $b))
        (i64x2.extmul_high_i32x4_u (local.get $a) (local.get $b)))))
      (local.set $key (local.get $next))
      (local.set $next (v128.load offset=48 (local.get $at)))
      (local.set $a (i32x4.add (local.get $low) (local.get $key)))
      (local.set $b (i32x4.add (local.get $high) (local.get $next)))
      (local.set $sum2 (i64x2.add (local.get $sum2) (i64x2.add
        (i64x2.extmul_low_i32x4_u (local.get $a) (local.get $b))
        (i64x2.extmul_high_i32x4_u (local.get $a) (local.get $b)))))
      (local.set $key (local.get $next))
      (local.set $next (v128.load offset=64 (local.get $at)))
      (local.set $a (i32x4.add (local.get $low) (local.get $key)))
      (local.set $b (i32x4.add (local.get $high) (local.get $next)))
      (local.set $sum3 (i64x2.add (local.get $sum3) (i64x2.add
        (i64x2.extmul_low_i32x4_u (local.get $a) (local.get $b))
        (i64x2.extmul_high_i32x4_u (local.get $a) (local.get $b)))))
      (local.set $page (i32.add (local.get $page) (i32.const 32)))
      (local.set $at (i32.add (local.get $at) (i32.const 32)))
      (br_if $words (i32.lt_u (local.get $at) (i32.const 4096))))
    (call $store (i32.const 4160) (local.get $sum0))
    (call $store (i32.const 4168) (local.get $sum1))
    (call $store (i32.const 4176) (local.get $sum2))
    (call $store (i32.const 4184) (local.get $sum3)))

  ;; Stores the sum of two sums.
  (func $store (param $at i32) (param $sum v128)
    (i64.store (local.get $at)
      (i64.add (i64x2.extract_lane 0 (local.get $sum)) (i64x2.extract_lane 1 (local.get $sum))))))
