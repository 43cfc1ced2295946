package reference_test

import (
	"testing"

	"isearle/runtime/conform"
)

func TestGradients(t *testing.T) { conform.Gradients(t) }
