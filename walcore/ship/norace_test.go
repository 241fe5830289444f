//go:build !race

package ship

const raced = false
