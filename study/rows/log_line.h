// A line of a log without what launchers, loggers and people put before and into it, so that
// readers meet what the tool printed.
//
//     [1,0]<stdout>:                   mpirun --tag-output (also <stderr>)
//     [prterun-HOST-PID@1,0]<stdout>:  the same of Open MPI 5
//     12:                              srun --label
//     [0]                              Hydra's mpiexec -l
//     [default0]:  [rank0]:            torchrun
//     (Worker pid=17, ip=10.0.0.1)     Ray
//     [pod/NAME/CONTAINER]             kubectl logs --prefix
//     [nccl-test-launcher-0]           a JobSet's pod
//     nccl-launcher-x8k2p launcher     stern
//     launcher-1  |                    docker compose
//     host-01:                         pdsh, clush
//     run.log:  run.log:12:  12:       grep -H and -n
//          12                          cat -n
//     2026-04-19T03:05:27.123Z         kubectl logs --timestamps, and other dates with times, in
//                                      brackets or before a logger's level too
//     Apr 19 03:05:27 h mpirun[12]:    journald
//     Thu Apr 17 03:05:27 2026         mpirun --timestamp-output
//     >                                a quote of Markdown
//
// These in any combination; "[rank 3]", "[config]" and "[tuning]" are a tool's own. Everywhere in a
// line: terminal escapes, byte-order marks and bold marks (**) go, blanks of other kinds than
// space become one, and a micro sign u. A line that a tool itself begins with "> " loses that too.
#ifndef STUDY_ROWS_LOG_LINE_H
#define STUDY_ROWS_LOG_LINE_H

// Cleans the text in place. Returns where the tool's own text begins, its own blanks kept; *rank is
// what the innermost tag says, -1 where none does.
char *log_line_clean(char *text, int *rank);

// Past blanks; like strchr, of what may be written if the text may.
char *skip_blanks(const char *text);

#endif
