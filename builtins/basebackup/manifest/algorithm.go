package manifest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"strings"
)

// Algorithm is how a file's checksum was made, by the name that it has in a
// manifest (pg_checksum_type_name in common/checksum_helper.c).
type Algorithm string

// The algorithms that PostgreSQL knows.
const (
	None   Algorithm = "NONE"
	CRC32C Algorithm = "CRC32C"
	SHA224 Algorithm = "SHA224"
	SHA256 Algorithm = "SHA256"
	SHA384 Algorithm = "SHA384"
	SHA512 Algorithm = "SHA512"
)

// parseAlgorithm is the algorithm of a name in any case, as PostgreSQL takes it.
func parseAlgorithm(name string) (Algorithm, bool) {
	switch a := Algorithm(strings.ToUpper(name)); a {
	case None, CRC32C, SHA224, SHA256, SHA384, SHA512:
		return a, true
	}
	return "", false
}

// New is a hash of the algorithm; nil for None.
func (a Algorithm) New() hash.Hash {
	switch a {
	case CRC32C:
		return crc32c{crc32.New(Castagnoli)}
	case SHA224:
		return sha256.New224()
	case SHA256:
		return sha256.New()
	case SHA384:
		return sha512.New384()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// Castagnoli is the polynomial of CRC-32C.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c is a CRC-32C whose sum is as PostgreSQL prints it.
type crc32c struct{ hash.Hash32 }

func (c crc32c) Sum(b []byte) []byte { return append(b, CRCBytes(c.Sum32())...) }

// CRCBytes is a CRC-32C as a manifest has it: as it lies in the memory of the
// server (pg_checksum_final), in the byte order of its machine.
func CRCBytes(crc uint32) []byte { return binary.NativeEndian.AppendUint32(nil, crc) }
