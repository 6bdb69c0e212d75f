# Circles of includes between modules, each once, as a path with the place of every include on it. A module is the files of
# one name in one folder (x.c, x.h, x.cu). For each module, the shortest circle through it: those that share no module with a
# shorter one are all found. Exit 1 if there is one. usage: awk -f tests/circles.awk FILE...

function module(path)
{
    sub(/\.(c|h|cu|cuh)$/, "", path)
    return path
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, quoted, "\"")
    from = module(FILENAME)
    to = module(quoted[2])
    if (from == to || (from, to) in place)
        next
    place[from, to] = FILENAME ":" FNR
    if (!(from in degree))
        modules[++count] = from
    include[from, ++degree[from]] = to
}

# Breadth first from `start` until an include leads back to it: before[x] is where x was reached from. The last module of the
# circle, or "".
function last_of_circle(start,    queue, head, tail, at, i, to)
{
    split("", before)
    queue[tail = 1] = start
    for (head = 1; head <= tail; head++) {
        at = queue[head]
        for (i = 1; i <= degree[at]; i++) {
            to = include[at, i]
            if (to == start)
                return at
            if (!(to in before)) {
                before[to] = at
                queue[++tail] = to
            }
        }
    }
    return ""
}

# One line, from the first module by name on, so that the same circle reads the same wherever it was found.
function circle_text(start, last,    ring, length_, i, first, at, next_, text)
{
    for (at = last; at != start; at = before[at])
        ring[length_++] = at
    ring[length_++] = start
    for (i = 1; i < length_; i++)
        if (ring[i] < ring[first + 0])
            first = i
    at = ring[first + 0]
    text = place[at, ring[(first + length_ - 1) % length_]] ": circle: " at
    for (i = 1; i <= length_; i++) {
        next_ = ring[(first + length_ * 2 - i) % length_]
        text = text " -> " next_ " (" place[at, next_] ")"
        at = next_
    }
    return text
}

END {
    for (m = 1; m <= count; m++) {
        last = last_of_circle(modules[m])
        if (last == "")
            continue
        text = circle_text(modules[m], last)
        if (!(text in printed))
            print text
        printed[text] = found = 1
    }
    exit found
}
