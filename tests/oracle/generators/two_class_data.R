# Synthetic two-class data the R oracles of this folder share. Rerun: Rscript tests/oracle/generators/two_class_data.R
# Writes tests/oracle/data/two_class.csv: patient, reference, score_a (one decimal: heavy ties), score_b, probability.
set.seed(20240601)
sizes <- sample(1:8, 90, replace = TRUE)
patient <- rep(seq_along(sizes), sizes)
n <- length(patient)
effect <- rnorm(length(sizes), 0, 0.7)[patient]
truth <- -0.9 + effect + rnorm(n)
reference <- as.integer(runif(n) < plogis(truth))
score_a <- round(truth + rnorm(n, 0, 1.2), 1)
score_b <- round(truth + rnorm(n, 0, 0.8), 6)
probability <- round(plogis(0.3 + 1.3 * truth + rnorm(n, 0, 0.4)), 6)
out <- data.frame(patient, reference, score_a, score_b, probability)
write.csv(out, "tests/oracle/data/two_class.csv", row.names = FALSE, quote = FALSE)
