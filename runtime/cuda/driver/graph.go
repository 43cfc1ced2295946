//go:build cuda

package driver

// #include "cuda.h"
//
// static CUresult begin(void *stream) { return cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL); }
// static CUresult end(void *stream, CUgraph *g) { return cuStreamEndCapture(stream, g); }
// static CUresult launch(CUgraphExec e, void *stream) { return cuGraphLaunch(e, stream); }
import "C"

import "gorgonia.org/cu"

// Graph is recorded work, ready to run as one launch.
type Graph struct{ exec C.CUgraphExec }

// Capture records what record puts on the stream. It runs nothing. The calling goroutine must be locked to its thread.
func Capture(s cu.Stream, record func() error) (*Graph, error) {
	if err := result("begin capture", C.begin(stream(s))); err != nil {
		return nil, err
	}
	recorded := record()
	var g C.CUgraph
	err := result("end capture", C.end(stream(s), &g))
	if err == nil {
		defer C.cuGraphDestroy(g)
	}
	if recorded != nil {
		return nil, recorded
	}
	if err != nil {
		return nil, err
	}
	graph := new(Graph)
	if err := result("instantiate graph", C.cuGraphInstantiateWithFlags(&graph.exec, g, 0)); err != nil {
		return nil, err
	}
	return graph, nil
}

// Run starts the graph on a stream.
func (g *Graph) Run(s cu.Stream) error { return result("launch graph", C.launch(g.exec, stream(s))) }

// Close frees the graph, which must not be running.
func (g *Graph) Close() error { return result("free graph", C.cuGraphExecDestroy(g.exec)) }
