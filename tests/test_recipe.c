// traces/recipe: presets, files of one's own, keys changed behind a name, and what is refused.
#include "base/mem.h"
#include "tests/fixture.h"
#include "tests/suite.h"
#include "traces/recipe.h"

static struct recipe load_recipe(const char *what)
{
    struct recipe recipe;
    struct error err;
    ck_assert_msg(recipe_load(what, &recipe, NULL, &err), "%s", err.text);
    return recipe;
}

START_TEST(presets_have_sources)
{
    struct recipe recipe;
    struct error err;
    static const char *const names[] = {"balanced", "deepseek-v3-mixed",
                                        "deepseek-v3-single-domain", "hot-expert", "hot-rank", "zipf"};
    struct provenance *sources = mem_alloc(recipe_field_count, sizeof *sources);
    ck_assert_msg(recipe_load(names[_i], &recipe, sources, &err), "%s", err.text);
    ck_assert_str_eq(recipe.name, names[_i]);
    size_t said = 0;
    for (size_t i = 0; i < recipe_field_count; i++) {
        said += sources[i].source != NULL;
        ck_assert(!sources[i].source || strlen(sources[i].source) > 3);
    }
    provenance_release(sources, recipe_field_count);
    ck_assert_uint_ge(said, 3);
    free(sources);
    recipe_release(&recipe);
}
END_TEST

START_TEST(changes_stand_for_lists)
{
    struct recipe recipe = load_recipe("deepseek-v3-mixed");
    ck_assert_str_eq(recipe.name, "deepseek-v3-mixed");
    ck_assert_uint_eq(recipe.layer_figures, 58);
    ck_assert_double_eq_tol(recipe_figure(&recipe, LIST_EXPERT_MAX_MEAN, 0, 58), 5.577, 1e-3);
    ck_assert_double_eq_tol(recipe_figure(&recipe, LIST_EXPERT_MAX_MEAN, 57, 58), 11.2064, 1e-3);
    ck_assert_double_eq_tol(recipe_figure(&recipe, LIST_TOP_EIGHTH_SHARE, 0, 29), 0.337086, 1e-9);
    recipe_release(&recipe);
    recipe = load_recipe("deepseek-v3-mixed:expert_max_mean=7,domains=2");
    ck_assert_str_eq(recipe.name, "deepseek-v3-mixed*");
    ck_assert_uint_eq(recipe.domains, 2);
    ck_assert_double_eq_tol(recipe_figure(&recipe, LIST_EXPERT_MAX_MEAN, 57, 58), 7, 1e-12);
    ck_assert_double_eq_tol(recipe_figure(&recipe, LIST_TOP_EIGHTH_SHARE, 0, 58), 0.337086, 1e-9);
    recipe_release(&recipe);
}
END_TEST

static const struct {
    const char *text, *message;
} bad[] = {
    {"kapa: 5\n", ":1: unknown key 'kapa'; did you mean 'kappa'?"},
    {"model: deepseek-v3\nkappa: many\n", ":2: kappa: 'many'"},
    {"loads: zipf\n", ":1: loads: 'zipf'"},
    {"layer_expert_max_mean: 5\n", ":1: layer_expert_max_mean: expected a list of numbers"},
    {"layer_expert_max_mean: []\n", ":1: layer_expert_max_mean: expected a list of numbers"},
    {"layer_expert_max_mean: [1, [2]]\n", ":1: layer_expert_max_mean: expected numbers"},
    {"layer_expert_max_mean: [1,\n  x]\n", ":2: layer_expert_max_mean: 'x'"},
    {"layer_expert_max_mean: [1, 2]\nlayer_top_eighth_share: [0.3]\n",
     ":1: layer_expert_max_mean: 2 entries; expected 1"},
    {"request_least: 9\nrequest_most: 8\n", ":2: request_most: 8: expected at least"},
    {"kappa:\n", ":1: kappa: no value given"},
    {"- 1\n", ":1: expected a recipe's keys"},
    {"stickiness: 1\n", ":1: stickiness: '1'"},
};

START_TEST(bad_recipes)
{
    const struct fixture file = fixture_make(bad[_i].text, ".yaml");
    struct recipe recipe;
    struct error err = {0};
    ck_assert(!recipe_load(file.path, &recipe, NULL, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(strncmp(message, bad[_i].message, strlen(bad[_i].message)) == 0, "%s", err.text);
    fixture_remove(&file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recipe");
    TCase *core = tcase_create("core");
    tcase_add_loop_test(core, presets_have_sources, 0, 6);
    tcase_add_test(core, changes_stand_for_lists);
    tcase_add_loop_test(core, bad_recipes, 0, SUITE_COUNT(bad));
    suite_add_tcase(suite, core);
    return suite_run(suite);
}
