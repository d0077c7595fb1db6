"""The prefix cache: links of chains that stay when their requests end, the least recently used given up first.

A request's prompt is a chain of links (a fixed number of tokens each); equal links mean an equal prompt up to there. A link that
requests hold counts as used; one that nobody holds can be given up at any time and counts as free. ``m`` is the row that keeps
account of a rank's blocks: its own, or the first one's where batches in flight share them (ROOM).
"""

from __future__ import annotations

from ..compiled import compiled
from . import columns as c
from .columns import World


@compiled
def unlink(w: World, m: int, link: int) -> None:
    """Take a link out of the list of those that nobody holds."""
    old, new = w.list[w.n[m, c.OLDER] + link], w.list[w.n[m, c.NEWER] + link]
    if old >= 0:
        w.list[w.n[m, c.NEWER] + old] = new
    else:
        w.n[m, c.LRU_OLD] = new
    if new >= 0:
        w.list[w.n[m, c.OLDER] + new] = old
    else:
        w.n[m, c.LRU_NEW] = old


@compiled
def take(w: World, p: int, m: int, blocks: int) -> None:
    """Use free blocks; links that nobody holds give way where none are left."""
    w.n[m, c.USED] += blocks
    while w.n[m, c.USED] + w.n[m, c.IDLE_BLOCKS] > w.n[p, c.BLOCKS] and w.n[m, c.LRU_OLD] >= 0:
        link = w.n[m, c.LRU_OLD]
        unlink(w, m, link)
        w.list[w.n[m, c.HELD] + link] = -1
        w.n[m, c.IDLE_BLOCKS] -= w.n[p, c.LINK_BLOCKS]
    w.n[m, c.MOST_USED] = max(w.n[m, c.MOST_USED], w.n[m, c.USED])


@compiled
def hits(w: World, p: int, m: int, r: int) -> tuple[int, int]:
    """Leading links of a request's chain in the cache, and how many of them nobody holds; one prompt token stays to compute."""
    if w.n[p, c.CACHING] == 0:
        return 0, 0
    most = (w.req[r, c.NEED] - 1) // w.n[p, c.LINK_TOKENS]
    found, idle = 0, 0
    for i in range(w.req[r, c.CHAIN], w.req[r, c.CHAIN_END]):
        if found == most:
            break
        holders = w.list[w.n[m, c.HELD] + w.list[i]]
        if holders < 0:
            break
        found += 1
        if holders == 0:
            idle += 1
    return found, idle


@compiled
def hold(w: World, p: int, m: int, r: int, links: int) -> None:
    """The request holds its first ``links`` links, all of them in the cache."""
    for i in range(w.req[r, c.CHAIN], w.req[r, c.CHAIN] + links):
        link = w.list[i]
        if w.list[w.n[m, c.HELD] + link] == 0:
            unlink(w, m, link)
            w.n[m, c.IDLE_BLOCKS] -= w.n[p, c.LINK_BLOCKS]
            w.n[m, c.USED] += w.n[p, c.LINK_BLOCKS]
            w.n[m, c.COMMITTED] += w.n[p, c.LINK_BLOCKS]
        w.list[w.n[m, c.HELD] + link] += 1
    w.req[r, c.SHARED] = links


@compiled
def publish(w: World, p: int, m: int, r: int) -> None:
    """Links that the request has computed by now go to the cache, held by it.

    Where another request has put the same link there meanwhile, the copy is given up (engines keep both until one ends).
    """
    if w.n[p, c.CACHING] == 0:
        return
    done = min(w.req[r, c.CACHED] // w.n[p, c.LINK_TOKENS], w.req[r, c.CHAIN_END] - w.req[r, c.CHAIN])
    for k in range(w.req[r, c.SHARED], done):
        link = w.list[w.req[r, c.CHAIN] + k]
        if w.list[w.n[m, c.HELD] + link] < 0:  # its own blocks become the cache's
            w.list[w.n[m, c.HELD] + link] = 1
        else:
            if w.list[w.n[m, c.HELD] + link] == 0:
                unlink(w, m, link)
                w.n[m, c.IDLE_BLOCKS] -= w.n[p, c.LINK_BLOCKS]
            else:
                w.n[m, c.USED] -= w.n[p, c.LINK_BLOCKS]
                w.n[m, c.COMMITTED] -= w.n[p, c.LINK_BLOCKS]
            w.list[w.n[m, c.HELD] + link] += 1
        w.req[r, c.SHARED] = k + 1


@compiled
def let_go(w: World, p: int, m: int, r: int) -> None:
    """The request holds no link any more; the last of its chain is given up first, since it is of no use without the others."""
    for k in range(w.req[r, c.SHARED] - 1, -1, -1):
        link = w.list[w.req[r, c.CHAIN] + k]
        w.list[w.n[m, c.HELD] + link] -= 1
        if w.list[w.n[m, c.HELD] + link] == 0:
            w.n[m, c.USED] -= w.n[p, c.LINK_BLOCKS]
            w.n[m, c.COMMITTED] -= w.n[p, c.LINK_BLOCKS]
            w.n[m, c.IDLE_BLOCKS] += w.n[p, c.LINK_BLOCKS]
            newest = w.n[m, c.LRU_NEW]
            w.list[w.n[m, c.OLDER] + link], w.list[w.n[m, c.NEWER] + link] = newest, -1
            if newest >= 0:
                w.list[w.n[m, c.NEWER] + newest] = link
            else:
                w.n[m, c.LRU_OLD] = link
            w.n[m, c.LRU_NEW] = link
    w.req[r, c.SHARED] = 0
