"""Apache TVM: graphs to Relax, to shared libraries for CPU and CUDA, and their runtime. Nothing here imports tvm before it is used."""
