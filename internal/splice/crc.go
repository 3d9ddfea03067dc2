package splice

import "hash/crc32"

// The CRC of two texts one after the other follows from theirs: a CRC is a
// polynomial over GF(2) modulo that of crc32.IEEE, and bytes that follow multiply
// it by x^8 each.

// crcShift is x^(8·length) modulo the polynomial.
func crcShift(length int) uint32 {
	shift := uint32(1 << 31) // x^0: the highest bit is the lowest power
	for square := uint32(1 << (31 - 8)); length > 0; length >>= 1 {
		if length&1 != 0 {
			shift = crcMultiply(shift, square)
		}
		square = crcMultiply(square, square)
	}
	return shift
}

// crcCombine is the CRC of two texts, of which the second has a length whose
// crcShift is given.
func crcCombine(first, second, shift uint32) uint32 {
	return crcMultiply(shift, first) ^ second
}

func crcMultiply(a, b uint32) uint32 {
	product := uint32(0)
	for bit := uint32(1 << 31); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= crc32.IEEE
		}
	}
	return product
}
