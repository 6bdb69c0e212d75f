// A measured row as a calibration has it.
#ifndef STUDY_CALIBRATE_ROW_H
#define STUDY_CALIBRATE_ROW_H

#include "study/parameter.h"
#include "study/row.h"

#include <stdbool.h>
#include <stdint.h>

// One measured row, opened once and run again for every trial: trial values are put into its own
// scenario.
struct calibrate_row {
    const struct measured_row *measured;
    struct scenario scenario; // of the closed form
    uint8_t *depends;         // [parameters] parameter_depends
    double *own;              // [parameters * PARAMETER_KEYS] what its presets say
    bool moved;               // by any of them; others are no part of the fit
    bool left_out;            // for it contradicts others: no part of the fit either
    double engine_bias;       // half of ln(simulated / estimated), added to the closed form's error
    double predicted_us;      // by the fitted values
    bool skipped;
    char why[512];
};

#endif
