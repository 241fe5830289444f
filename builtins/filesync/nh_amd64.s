#include "textflag.h"

// SUM adds the four products of a pass to its sums; the message with the key is
// in y, and the multiplication takes the even words of its two operands.
#define SUM(y, high, sums) \
	VPSRLQ $32, y, high \
	VPMULUDQ high, y, y \
	VPADDQ y, sums, sums

// TOTAL adds up the four sums of a pass.
#define TOTAL(y, x, at) \
	VEXTRACTI128 $1, y, X4 \
	VPADDQ X4, x, x \
	VPSHUFD $0xEE, x, X4 \
	VPADDQ X4, x, x \
	MOVQ x, DX \
	ADDQ DX, at(AX)

// func nhAVX2(sums *nhSums, key *uint32, message *byte, rows int)
//
// The sums of the passes are in Y0 to Y3, four of each.
TEXT ·nhAVX2(SB), NOSPLIT, $0-32
	MOVQ sums+0(FP), AX
	MOVQ key+8(FP), BX
	MOVQ message+16(FP), SI
	MOVQ rows+24(FP), CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

row:
	VMOVDQU (SI), Y4
	VPADDD (BX), Y4, Y5
	VPADDD 8(BX), Y4, Y6
	VPADDD 16(BX), Y4, Y7
	VPADDD 24(BX), Y4, Y8
	SUM(Y5, Y9, Y0)
	SUM(Y6, Y10, Y1)
	SUM(Y7, Y11, Y2)
	SUM(Y8, Y12, Y3)
	ADDQ $32, SI
	ADDQ $32, BX
	DECQ CX
	JNZ row

	TOTAL(Y0, X0, 0)
	TOTAL(Y1, X1, 8)
	TOTAL(Y2, X2, 16)
	TOTAL(Y3, X3, 24)
	VZEROUPPER
	RET
