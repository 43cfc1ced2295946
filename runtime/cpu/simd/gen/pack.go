package main

func packs(g *gen) {}
