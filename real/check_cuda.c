// Holds the CUDA device's kernels (real/kernels.h) to the host device's, which
// tests/test_device.c holds to plain loops. One line a check; exits 1 when any is wrong, 3 when
// there is no GPU. Matrix products and speed: real/check_cuda_speed.c.
#include "real/check_cuda_device.h"

// ---- rows ---------------------------------------------------------------------------------------

// Values from 2^-20 to 2^6, a few of them zero, a block of zeros now and then.
static float sample_value(uint64_t tensor, uint64_t index)
{
    const float value = value_at(7, tensor, index);
    const int power = (int)(index * 2654435761u % 26u) - 20;
    if (index / FP8_BLOCK % 11 == 3 || index % 37 == 0)
        return 0;
    return ldexpf(value, power);
}

// Rows of one format on both sides.
struct check_rows {
    struct check_both both;
    struct row_block block[CHECK_SIDES];
};

static void rows_upload(const struct check_rows *rows)
{
    device_upload(check_devices[CHECK_CUDA], rows->both.at[CHECK_CUDA], rows->both.at[CHECK_HOST],
                  rows->both.bytes);
}

// Strides keep the alignment that fast kernels need wherever the width does.
static struct check_rows make_rows(enum row_format format, uint32_t count, uint32_t width)
{
    struct check_rows rows;
    size_t stride = row_bytes(format, width) + 16;
    if (width % FP8_BLOCK == 0)
        stride = (stride + 15) / 16 * 16;
    rows.both = check_both(NULL, stride * count);
    for (int side = 0; side < CHECK_SIDES; side++)
        rows.block[side] = (struct row_block){rows.both.at[side], stride, format};
    return rows;
}

static struct check_rows sample_rows(enum row_format format, uint32_t width)
{
    const struct check_rows rows = make_rows(format, CHECK_ROWS, width);
    const uint32_t count = CHECK_ROWS * width;
    float *values = check_alloc(CHECK_HOST, count * sizeof *values);
    const struct row_block from = {values, width * sizeof *values, ROW_FP32};
    for (uint32_t i = 0; i < count; i++)
        values[i] = sample_value(format, i);
    device_gather(check_devices[CHECK_HOST], STREAM_COMPUTE,
                  &(struct row_gather){rows.block[CHECK_HOST], from, NULL, CHECK_ROWS, width});
    rows_upload(&rows);
    return rows;
}

static void check_gather(enum row_format to, enum row_format from, uint32_t width)
{
    const struct check_rows in = sample_rows(from, width), out = make_rows(to, CHECK_ROWS, width);
    uint32_t list[CHECK_ROWS];
    for (uint32_t r = 0; r < CHECK_ROWS; r++)
        list[r] = r % 9 == 4 ? UINT32_MAX : r * 17 % CHECK_ROWS;
    const struct check_both index = check_both(list, sizeof list);
    for (int side = 0; side < CHECK_SIDES; side++)
        device_gather(check_devices[side], STREAM_INTER,
                      &(struct row_gather){out.block[side], in.block[side], index.at[side],
                                           CHECK_ROWS, width});
    check_same_bytes(check_name("gather %s to %s, width %u", check_format_names[from],
                                check_format_names[to], width),
                     &out.both);
}

// Every code of the format, through the fast path.
static void check_fp8_codes(void)
{
    const struct check_rows in = make_rows(ROW_FP8, 1, 256), out = make_rows(ROW_FP32, 1, 256);
    const float scales[] = {0.37f, 0.37f};
    uint8_t *codes = in.both.at[CHECK_HOST];
    for (uint32_t code = 0; code < 256; code++)
        codes[code] = (uint8_t)code;
    memcpy(codes + 256, scales, sizeof scales);
    rows_upload(&in);
    for (int side = 0; side < CHECK_SIDES; side++)
        device_gather(check_devices[side], STREAM_COMPUTE,
                      &(struct row_gather){out.block[side], in.block[side], NULL, 1, 256});
    check_same_bytes("fp8 codes, all 256", &out.both);
}

// Zero to four terms a row. `add` is checked together with weights of 1.
static void check_reduce(enum row_format to, enum row_format from, uint32_t width, bool add)
{
    uint64_t firsts[CHECK_ROWS + 1];
    uint32_t sources[4 * CHECK_ROWS], count = 0;
    float weights[4 * CHECK_ROWS];
    for (uint32_t r = 0; r < CHECK_ROWS; r++) {
        firsts[r] = count;
        for (uint32_t j = 0; j < r % 5; j++) {
            sources[count] = (r * 13 + j * 7) % CHECK_ROWS;
            weights[count++] = value_at(5, 1, r * 5 + j);
        }
    }
    firsts[CHECK_ROWS] = count;
    const struct check_rows in = sample_rows(from, width);
    const struct check_rows out = add ? sample_rows(to, width) : make_rows(to, CHECK_ROWS, width);
    const struct check_both first = check_both(firsts, sizeof firsts);
    const struct check_both source = check_both(sources, count * sizeof *sources);
    const struct check_both weight = check_both(weights, count * sizeof *weights);
    for (int side = 0; side < CHECK_SIDES; side++)
        device_reduce(check_devices[side], STREAM_INTRA,
                      &(struct row_sums){.out = out.block[side],
                                         .in = in.block[side],
                                         .first = first.at[side],
                                         .source = source.at[side],
                                         .weight = add ? NULL : weight.at[side],
                                         .count = CHECK_ROWS,
                                         .width = width,
                                         .add = add});
    check_same_bytes(check_name("reduce %s to %s, width %u%s", check_format_names[from],
                                check_format_names[to], width, add ? ", add" : ""),
                     &out.both);
}

static void check_meta(uint32_t topk, size_t offset)
{
    uint16_t id_list[8 * CHECK_ROWS];
    float weight_list[8 * CHECK_ROWS];
    uint32_t list[CHECK_ROWS];
    for (uint32_t i = 0; i < 8 * CHECK_ROWS; i++) {
        id_list[i] = (uint16_t)(i * 31 % 256);
        weight_list[i] = value_at(5, 2, i);
    }
    for (uint32_t r = 0; r < CHECK_ROWS; r++)
        list[r] = r % 6 == 1 ? UINT32_MAX : r * 11 % CHECK_ROWS;
    const struct check_rows rows = make_rows(ROW_BF16, CHECK_ROWS, 128);
    const struct check_both ids = check_both(id_list, sizeof id_list);
    const struct check_both weights = check_both(weight_list, sizeof weight_list);
    const struct check_both index = check_both(list, sizeof list);
    for (int side = 0; side < CHECK_SIDES; side++)
        device_put_meta(check_devices[side], STREAM_INTER,
                        &(struct row_meta){rows.block[side], offset, ids.at[side], weights.at[side],
                                           topk, index.at[side], CHECK_ROWS});
    check_same_bytes(check_name("put_meta, topk %u, offset %zu", topk, offset), &rows.both);
}

// Rows of every alignment: whole words, odd addresses, an odd end.
static void check_checksum(size_t stride, size_t offset)
{
    static uint8_t byte_list[CHECK_ROWS * 8192 + 8];
    for (size_t i = 0; i < sizeof byte_list; i++)
        byte_list[i] = (uint8_t)(value_mix(i) >> 56);
    const struct check_both bytes = check_both(byte_list, offset + CHECK_ROWS * stride);
    const struct check_both sums = check_both(NULL, (CHECK_ROWS + 1) * sizeof(uint64_t));
    for (int side = 0; side < CHECK_SIDES; side++)
        device_checksum(check_devices[side], STREAM_COMPUTE,
                        &(struct row_checksums){sums.at[side],
                                                {(char *)bytes.at[side] + offset, stride, ROW_FP8},
                                                CHECK_ROWS});
    check_same_bytes(check_name("checksum, %zu bytes, %zu off alignment", stride, offset), &sums);
}

static void check_checksums(void)
{
    const size_t strides[] = {7472, 8192, 256, 60, 7, 1};
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
        check_checksum(strides[i], 0);
        check_checksum(strides[i], 3);
    }
}

static void check_row_kernels(void)
{
    const uint32_t widths[] = {7168, 256, 200, 7};
    for (uint32_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (enum row_format to = ROW_FP32; to <= ROW_FP8; to++)
            for (enum row_format from = ROW_FP32; from <= ROW_FP8; from++) {
                check_gather(to, from, widths[w]);
                check_reduce(to, from, widths[w], false);
            }
    check_reduce(ROW_BF16, ROW_BF16, 7168, true);
    check_reduce(ROW_BF16, ROW_FP8, 256, true);
    check_reduce(ROW_BF16, ROW_BF16, 7, true);
    check_fp8_codes();
    check_meta(8, 0);
    check_meta(8, 3);
    check_meta(0, 4);
    check_checksums();
}

// ---- values, norm -------------------------------------------------------------------------------

static void check_fill(uint32_t shift)
{
    const uint32_t count = 100003;
    const struct check_both both = check_both(NULL, (count + shift + 9) * sizeof(uint16_t));
    uint16_t *expected = both.at[CHECK_HOST], *values = both.at[CHECK_CUDA];
    for (uint32_t i = 0; i < count; i++)
        expected[shift + i] = bf16_from_float(0.03f * value_at(11, 5, i));
    device_fill(check_devices[CHECK_CUDA],
                &(struct tensor_fill){values + shift, count, 11, 5, 0.03f});
    check_same_bytes(check_name("fill, %u bytes off alignment", 2 * shift), &both);
}

static void check_rmsnorm(uint32_t width)
{
    const uint64_t count = (uint64_t)CHECK_ROWS * width;
    const uint16_t *in = check_filled(1, count, 1);
    const struct check_both out = check_both(NULL, count * sizeof(float));
    device_rmsnorm(check_devices[CHECK_HOST], out.at[CHECK_HOST], check_widened(in, count),
                   CHECK_ROWS, width);
    device_rmsnorm(check_devices[CHECK_CUDA], out.at[CHECK_CUDA], in, CHECK_ROWS, width);
    check_error(
        check_name("rmsnorm, width %u", width),
        &(struct check_floats){out.at[CHECK_HOST], check_widened(out.at[CHECK_CUDA], count), count},
        3e-3);
}

// ---- selection ----------------------------------------------------------------------------------

#define SELECT_GAP 2e-6f // scores nearer than this may change places

static void plain_scores(float *scores, const float *logits, const struct select_shape *shape)
{
    float max = logits[0], sum = 0;
    for (uint32_t e = 1; e < shape->experts; e++)
        max = fmaxf(max, logits[e]);
    for (uint32_t e = 0; e < shape->experts; e++)
        sum += expf(logits[e] - max);
    for (uint32_t e = 0; e < shape->experts; e++)
        scores[e] = shape->score == SCORE_SOFTMAX ? expf(logits[e] - max) / sum
                                                  : 1 / (1 + expf(-logits[e]));
}

// What a token's experts were chosen from, and by the host device.
struct chosen {
    const struct select_shape *shape;
    const float *logits, *bias;
    const uint16_t *ids;
};

// The GPU's choices of the token that are not the host's, nor worth the same.
static uint64_t wrong_choices(const struct chosen *host, const uint16_t *ids, const float *weights)
{
    const struct select_shape *shape = host->shape;
    float scores[MOE_MAX_EXPERTS], sum = 0;
    uint64_t wrong = 0;
    plain_scores(scores, host->logits, shape);
    for (uint32_t k = 0; k < shape->topk; k++)
        sum += scores[ids[k] % shape->experts];
    for (uint32_t k = 0; k < shape->topk; k++) {
        const uint32_t best = host->ids[k], id = ids[k] % shape->experts;
        const float gap = scores[id] + host->bias[id] - (scores[best] + host->bias[best]);
        const float weight = scores[id] * shape->scaling / (shape->normalise ? sum : 1);
        wrong += ids[k] >= shape->experts || !(fabsf(gap) <= SELECT_GAP) ||
                 !(fabsf(weights[k] - weight) <= 1e-5f * shape->scaling);
        for (uint32_t other = 0; other < k; other++)
            wrong += ids[other] == ids[k];
    }
    return wrong;
}

static void check_select(const struct select_shape *shape)
{
    static float logit_list[CHECK_ROWS * MOE_MAX_EXPERTS], bias_list[MOE_MAX_EXPERTS];
    const uint32_t experts = shape->experts, topk = shape->topk, chosen = CHECK_ROWS * topk;
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < CHECK_ROWS * experts; i++)
        logit_list[i] = 3 * value_at(9, 1, i);
    for (uint32_t e = 0; e < experts; e++)
        bias_list[e] = 0.1f * value_at(9, 2, e);
    const struct check_both logits = check_both(logit_list, CHECK_ROWS * experts * sizeof(float));
    const struct check_both bias = check_both(bias_list, experts * sizeof(float));
    const struct check_both ids = check_both(NULL, chosen * sizeof(uint16_t));
    const struct check_both wide = check_both(NULL, chosen * sizeof(int32_t));
    const struct check_both weights = check_both(NULL, chosen * sizeof(float));
    for (int side = 0; side < CHECK_SIDES; side++)
        device_select(check_devices[side],
                      &(struct selection){ids.at[side], weights.at[side], logits.at[side],
                                          bias.at[side], CHECK_ROWS, *shape, wide.at[side]});
    const uint16_t *host_ids = ids.at[CHECK_HOST];
    const uint16_t *got = check_download(ids.at[CHECK_CUDA], ids.bytes);
    const int32_t *got_wide = check_download(wide.at[CHECK_CUDA], wide.bytes);
    const float *got_weights = check_download(weights.at[CHECK_CUDA], weights.bytes);
    for (uint32_t i = 0; i < chosen; i++)
        wrong += got_wide[i] != got[i];
    for (uint32_t t = 0; t < CHECK_ROWS; t++)
        wrong += wrong_choices(
            &(struct chosen){shape, logit_list + t * experts, bias_list, host_ids + t * topk},
            got + t * topk, got_weights + t * topk);
    check_exact(check_name("select %u of %u, %u of %u groups", topk, experts, shape->topk_groups,
                           shape->groups),
                wrong, chosen);
}

static const struct select_shape select_shapes[] = {
    {256, 8, 8, 4, SCORE_SIGMOID, true, 2.5f},  {128, 8, 1, 1, SCORE_SOFTMAX, true, 1},
    {160, 6, 8, 3, SCORE_SOFTMAX, false, 16},   {4096, 64, 64, 8, SCORE_SIGMOID, true, 1},
    {4096, 8, 4096, 9, SCORE_SIGMOID, true, 1}, {7, 2, 1, 1, SCORE_SIGMOID, false, 1},
};

// ---- graphs -------------------------------------------------------------------------------------

// Rows that a stage's stream gathers for an expert, which runs beside the compute stream.
struct check_work {
    struct row_gather gather;
    struct ffn ffn;
    const void *gate_up, *down;
    uint64_t first[2];
};

static void give_work(const struct check_work *work)
{
    struct device *cuda = check_devices[CHECK_CUDA];
    device_gather(cuda, STREAM_INTRA, &work->gather);
    device_follow(cuda, STREAM_BESIDE, STREAM_INTRA);
    device_ffn(cuda, &work->ffn);
}

// Nothing is done as work is captured, and all of it by each replay.
static void check_replays(const struct check_work *work, uint64_t values)
{
    struct device *cuda = check_devices[CHECK_CUDA];
    const size_t bytes = values * sizeof(uint16_t);
    uint64_t wrong = 0;
    give_work(work);
    const void *given = check_download(work->ffn.out, bytes);
    device_capture_begin(cuda);
    give_work(work);
    void *graph = device_capture_end(cuda);
    for (uint32_t replay = 0; replay < 2; replay++) {
        device_fill(cuda, &(struct tensor_fill){work->ffn.out, values, 3, 8 + replay, 1});
        wrong += !memcmp(check_download(work->ffn.out, bytes), given, bytes);
        device_replay(cuda, graph);
        wrong += memcmp(check_download(work->ffn.out, bytes), given, bytes) != 0;
    }
    device_release_graph(cuda, graph);
    check_exact("graph of a gather and an ffn beside", wrong, 4);
}

static void check_graph(void)
{
    const uint32_t hidden = 512, inner = 256;
    const uint64_t values = (uint64_t)CHECK_ROWS * hidden;
    const size_t bytes = values * sizeof(uint16_t), stride = hidden * sizeof(uint16_t);
    struct check_work work = {.first = {0, CHECK_ROWS}};
    uint16_t *in = check_filled(1, values, 1), *gathered = check_filled(2, values, 1);
    work.gate_up = check_filled(3, 2ull * inner * hidden, 0.05f);
    work.down = check_filled(4, (uint64_t)inner * hidden, 0.05f);
    work.gather = (struct row_gather){.out = {gathered, stride, ROW_BF16},
                                      .in = {in, stride, ROW_BF16},
                                      .count = CHECK_ROWS,
                                      .width = hidden};
    work.ffn = (struct ffn){.groups = 1,
                            .hidden = hidden,
                            .intermediate = inner,
                            .first = work.first,
                            .gate_up = &work.gate_up,
                            .down = &work.down,
                            .in = gathered,
                            .out = check_alloc(CHECK_CUDA, bytes),
                            .middle = check_alloc(CHECK_CUDA, 3 * bytes),
                            .stream = STREAM_BESIDE};
    device_prepare_graphs(check_devices[CHECK_CUDA]);
    device_sync(check_devices[CHECK_CUDA], &(struct error){0});
    check_replays(&work, values);
}

// ---- the program --------------------------------------------------------------------------------

static bool check_cuda_kernels(struct error *err)
{
    check_row_kernels();
    check_fill(0);
    check_fill(3);
    check_rmsnorm(7168);
    check_rmsnorm(7);
    for (size_t i = 0; i < sizeof select_shapes / sizeof *select_shapes; i++)
        check_select(&select_shapes[i]);
    check_graph();
    return device_sync(check_devices[CHECK_CUDA], err);
}

int main(void)
{
    return check_program("check_cuda", "failed", check_cuda_kernels);
}
