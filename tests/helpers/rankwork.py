"""x"""
from llpf_plugin import find_path, LLPF
from helpers import tiny
def walk(a,b,name):
    path=find_path(a,b,tiny.TASKS[name](),LLPF(share=0.02),max_loss=0.5,budget=120)
    return [path.knots[i] for i in range(len(path.knots))], path.outcome, path.quality.maximum
