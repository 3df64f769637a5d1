import time, torch
import torch.distributed as dist
from llpf_plugin.ranks import gathered, any_rank
def work():
    t=time.time(); out={}
    x=torch.zeros(100)
    for i in range(200): dist.all_reduce(x)
    out["200 reduces"]=time.time()-t; t=time.time()
    for i in range(50): gathered(1)
    out["50 gathers"]=time.time()-t
    return out
def nothing(): return time.time()
