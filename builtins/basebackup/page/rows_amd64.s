#include "textflag.h"

// func mixAVX2(sums *[columns]uint32, rows *byte, n int)
//
// Eight columns in each of Y0 to Y3. For each row: sum ^= value, and then
// sum = sum*prime ^ sum>>17.
TEXT ·mixAVX2(SB), NOSPLIT, $0-24
	MOVQ sums+0(FP), AX
	MOVQ rows+8(FP), BX
	MOVQ n+16(FP), CX
	MOVL $16777619, DX
	MOVQ DX, X8
	VPBROADCASTD X8, Y8
	VMOVDQU (AX), Y0
	VMOVDQU 32(AX), Y1
	VMOVDQU 64(AX), Y2
	VMOVDQU 96(AX), Y3

row:
	VPXOR (BX), Y0, Y0
	VPXOR 32(BX), Y1, Y1
	VPXOR 64(BX), Y2, Y2
	VPXOR 96(BX), Y3, Y3
	VPSRLD $17, Y0, Y4
	VPSRLD $17, Y1, Y5
	VPSRLD $17, Y2, Y6
	VPSRLD $17, Y3, Y7
	VPMULLD Y8, Y0, Y0
	VPMULLD Y8, Y1, Y1
	VPMULLD Y8, Y2, Y2
	VPMULLD Y8, Y3, Y3
	VPXOR Y4, Y0, Y0
	VPXOR Y5, Y1, Y1
	VPXOR Y6, Y2, Y2
	VPXOR Y7, Y3, Y3
	ADDQ $128, BX
	DECQ CX
	JNZ row

	VMOVDQU Y0, (AX)
	VMOVDQU Y1, 32(AX)
	VMOVDQU Y2, 64(AX)
	VMOVDQU Y3, 96(AX)
	VZEROUPPER
	RET

// func detectAVX2() bool
TEXT ·detectAVX2(SB), NOSPLIT, $0-1
	MOVB $0, ret+0(FP)
	XORL AX, AX
	CPUID
	CMPL AX, $7
	JLT done
	MOVL $1, AX
	XORL CX, CX
	CPUID
	ANDL $0x18000000, CX // OSXSAVE and AVX
	CMPL CX, $0x18000000
	JNE done
	XORL CX, CX
	XGETBV
	ANDL $6, AX // the system keeps XMM and YMM registers
	CMPL AX, $6
	JNE done
	MOVL $7, AX
	XORL CX, CX
	CPUID
	ANDL $0x20, BX // AVX2
	JZ done
	MOVB $1, ret+0(FP)

done:
	RET
