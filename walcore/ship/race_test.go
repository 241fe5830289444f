//go:build race

package ship

// raced: the test binary watches for data races.
const raced = true
