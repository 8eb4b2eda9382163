//! What holds for every graph, every order and every fault.
