"""Many machines: a population whose members train in other processes, and the cluster that these run on."""
