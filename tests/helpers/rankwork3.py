import cProfile, pstats, io, time
from helpers import rankwork
from llpf_plugin.ranks import current
def work(*a):
    p=cProfile.Profile(); p.enable(); t=time.time()
    rankwork.walk(*a); p.disable()
    s=io.StringIO(); pstats.Stats(p,stream=s).sort_stats("tottime").print_stats(12)
    return s.getvalue()
