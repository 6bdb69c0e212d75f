// Loads of experts under a power law, as AIConfigurator's collectors draw them
// (collector/helper.py, Apache-2.0): a weight for every expert by the inverse of the distribution
// function of x^-alpha on [1, 0.8 tokens] ([0.01, 2] where there are fewer choices than experts),
// weights scaled to all choices and rounded, and of the ranks the one with most.
#ifndef STUDY_ROWS_POWER_LAW_H
#define STUDY_ROWS_POWER_LAW_H

struct power_law {
    unsigned tokens; // of all ranks
    unsigned experts, topk, ranks;
    double alpha;
    double tile; // rows that an expert's are padded to a multiple of
};

struct expert_load {
    double rows;    // of the most loaded rank
    double touched; // its experts with a row
    double padded;  // rows in whole tiles an expert
};

// The mean over draws of fixed seeds.
struct expert_load power_law_load(const struct power_law *law);

// The same number of rows for every expert, one after another.
struct expert_load balanced_load(const struct power_law *law);

#endif
