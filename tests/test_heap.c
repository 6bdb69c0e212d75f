// sim/heap: the radix heap against a sorted list, in order and in turn.
#include "base/rng.h"
#include "sim/heap.h"
#include "tests/suite.h"

#include <string.h>

// What is pending, in the order it must come out: by time, equal times by arrival.
struct oracle {
    struct {
        uint64_t time_ps, payload;
    } events[4096];
    size_t count;
};

static void oracle_push(struct oracle *oracle, uint64_t time_ps, uint64_t payload)
{
    size_t at = oracle->count++;
    for (; at > 0 && oracle->events[at - 1].time_ps > time_ps; at--)
        oracle->events[at] = oracle->events[at - 1];
    oracle->events[at].time_ps = time_ps;
    oracle->events[at].payload = payload;
}

static void expect_pop(struct heap *heap, struct oracle *oracle, uint64_t *now)
{
    uint64_t time_ps = 0, payload = 0;
    ck_assert(heap_pop(heap, &time_ps, &payload));
    ck_assert_uint_eq(time_ps, oracle->events[0].time_ps);
    ck_assert_uint_eq(payload, oracle->events[0].payload);
    oracle->count--;
    memmove(oracle->events, oracle->events + 1, oracle->count * sizeof oracle->events[0]);
    *now = time_ps;
}

// How far ahead of the last popped time events lie: ties, near, mixed, beyond 2^32.
static const uint64_t spans[] = {
    1, 2, 16, 1000, UINT64_C(1) << 20, UINT64_C(1) << 33, UINT64_C(1) << 50};

START_TEST(same_as_a_sorted_list)
{
    static struct oracle oracle;
    struct rng rng = rng_stream(1, (uint64_t)_i, 0, 0);
    struct heap heap;
    uint64_t now = 0;
    oracle.count = 0;
    heap_init(&heap, 4096);
    for (uint64_t n = 0; n < 20000; n++) {
        if (oracle.count == 0 || (oracle.count < 4000 && rng_below(&rng, 1000) < 510)) {
            const uint64_t ahead = rng_next(&rng) % spans[_i];
            heap_push(&heap, now + ahead, n);
            oracle_push(&oracle, now + ahead, n);
        } else {
            expect_pop(&heap, &oracle, &now);
        }
    }
    while (oracle.count)
        expect_pop(&heap, &oracle, &now);
    uint64_t time_ps, payload;
    ck_assert(!heap_pop(&heap, &time_ps, &payload));
    heap_release(&heap);
}
END_TEST

START_TEST(equal_times_take_turns)
{
    struct heap heap;
    uint64_t time_ps = 0, payload = 0;
    heap_init(&heap, 3000);
    for (uint64_t i = 0; i < 1000; i++) // two times, interleaved, in different buckets
        heap_push(&heap, i % 2 ? 5 : 1000000, i);
    for (uint64_t i = 1; i < 1000; i += 2) {
        ck_assert(heap_pop(&heap, &time_ps, &payload));
        ck_assert_uint_eq(time_ps, 5);
        ck_assert_uint_eq(payload, i);
    }
    for (uint64_t i = 1000; i < 1200; i++) // joins the end of what already waits
        heap_push(&heap, 1000000, i);
    for (uint64_t i = 0; i < 1200; i += i < 1000 ? 2 : 1) {
        ck_assert(heap_pop(&heap, &time_ps, &payload));
        ck_assert_uint_eq(time_ps, 1000000);
        ck_assert_uint_eq(payload, i);
    }
    heap_release(&heap);
}
END_TEST

START_TEST(extreme_times)
{
    struct heap heap;
    uint64_t time_ps = 0, payload = 0;
    heap_init(&heap, 3);
    heap_push(&heap, UINT64_MAX, 1);
    heap_push(&heap, 0, 2);
    heap_push(&heap, UINT64_C(1) << 63, 3);
    ck_assert(heap_pop(&heap, &time_ps, &payload));
    ck_assert_uint_eq(payload, 2);
    ck_assert(heap_pop(&heap, &time_ps, &payload));
    ck_assert_uint_eq(payload, 3);
    heap_push(&heap, UINT64_C(1) << 63, 4); // now: at once, and a node used again
    ck_assert(heap_pop(&heap, &time_ps, &payload));
    ck_assert_uint_eq(payload, 4);
    ck_assert(heap_pop(&heap, &time_ps, &payload));
    ck_assert_uint_eq(time_ps, UINT64_MAX);
    ck_assert_uint_eq(heap.popped, 4);
    heap_release(&heap);
}
END_TEST

// PHOLD (Fujimoto 1990): every event popped is pushed again, some time later. The order of a long
// run, as one number, whatever the machine.
START_TEST(phold_runs_the_same)
{
    struct rng rng = rng_stream(7, 0, 0, 0);
    struct heap heap;
    uint64_t time_ps = 0, payload = 0, hash = UINT64_C(0xcbf29ce484222325);
    heap_init(&heap, 1024);
    for (uint64_t i = 0; i < 1024; i++)
        heap_push(&heap, rng_below(&rng, 1000), i);
    for (int n = 0; n < 200000; n++) {
        ck_assert(heap_pop(&heap, &time_ps, &payload));
        hash = (hash ^ time_ps ^ payload << 40) * UINT64_C(0x100000001b3);
        heap_push(&heap, time_ps + rng_below(&rng, 4) * 250, payload); // one in four: at once
    }
    ck_assert_uint_eq(hash, UINT64_C(8902910866939880858));
    heap_release(&heap);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heap");
    TCase *tests = tcase_create("heap");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, same_as_a_sorted_list, 0, SUITE_COUNT(spans));
    tcase_add_test(tests, equal_times_take_turns);
    tcase_add_test(tests, extreme_times);
    tcase_add_test(tests, phold_runs_the_same);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
