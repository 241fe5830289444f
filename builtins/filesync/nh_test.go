package filesync

import (
	"math/rand/v2"
	"testing"
)

// randomHash is a hasher, and bytes to hash.
func randomHash(t testing.TB, n int) (hasher, []byte) {
	h, err := newHasher(newHashKey())
	must(t, err)
	random := rand.NewChaCha8([32]byte{3})
	b := make([]byte, n)
	_, _ = random.Read(b) // never fails
	return h, b
}

// TestSumsByRowsAndByPairs: where the processor can take several pairs at once,
// the sums are the same.
func TestSumsByRowsAndByPairs(t *testing.T) {
	t.Parallel()
	h, b := randomHash(t, blockSize)
	for n := 0; n <= blockSize; n += nhRow {
		got, want := nhSums{1, 2, 3, 4}, nhSums{1, 2, 3, 4}
		got.add(h.key[:], b[:n])
		want.addPairs(h.key[:], b[:n])
		if got != want {
			t.Fatalf("%d bytes: got %x, want %x", n, got, want)
		}
	}
}

// TestHashSeesEveryByte: a bit that is turned anywhere shows, and so does a byte
// more or less, though it be zero.
func TestHashSeesEveryByte(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 31, 32, 33, 100, blockSize - 1, blockSize} {
		h, b := randomHash(t, n)
		want := h.of(b)
		for i := range b {
			b[i] ^= 0x10
			if h.of(b) == want {
				t.Errorf("byte %d of %d turned: same hash", i, n)
			}
			b[i] ^= 0x10
		}
		if got := h.of(b); got != want {
			t.Errorf("%d bytes: got %x, and before it %x", n, got, want)
		}
	}
	h, _ := randomHash(t, 0)
	seen := map[[hashSize]byte]int{}
	for n := 1; n <= blockSize; n++ {
		sum := h.of(zeroBlock[:n])
		if m, there := seen[sum]; there {
			t.Errorf("%d and %d zeros have the same hash", m, n)
		}
		seen[sum] = n
	}
}

// TestHashDependsOnKey: two copies have other hashes of the same block.
func TestHashDependsOnKey(t *testing.T) {
	t.Parallel()
	h, b := randomHash(t, blockSize)
	other, _ := randomHash(t, 0)
	if h.of(b) == other.of(b) {
		t.Error("two keys lead to the same hash")
	}
	same, err := newHasher(hashKey{1, 2, 3})
	must(t, err)
	again, err := newHasher(hashKey{1, 2, 3})
	must(t, err)
	if same.of(b) != again.of(b) {
		t.Error("one key leads to two hashes")
	}
}

func BenchmarkHash(b *testing.B) {
	h, block := randomHash(b, blockSize)
	b.SetBytes(blockSize)
	for b.Loop() {
		h.of(block)
	}
}
