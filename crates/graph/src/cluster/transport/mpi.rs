//! Parties as ranks of an MPI job.
