# Made-up data of a task with four classes and of one with three labels, with ties, several cases per patient.
# Run from the repository:  Rscript tests/oracle/generators/several_classes_data.R
set.seed(20240611)
n <- 240; classes <- c("mel", "nv", "bcc", "bkl"); k <- 4
patient <- sort(sample(1:110, n, replace = TRUE))
reference <- sample(classes, n, replace = TRUE, prob = c(.2, .45, .15, .2))
z <- matrix(rnorm(n * k), n) + 1.4 * outer(reference, classes, "==") + rnorm(110)[patient] * matrix(c(.4, -.2, 0, .1), n, k, byrow = TRUE)
p <- exp(z) / rowSums(exp(z)); p <- round(p, 2); p[, k] <- round(1 - rowSums(p[, 1:3]), 2)
p[p < 0] <- 0; p <- p / rowSums(p)
out <- data.frame(patient, reference, round(p, 6)); names(out)[3:6] <- paste0("p_", classes)
out[[6]] <- round(1 - rowSums(out[, 3:5]), 6)
write.csv(out, "tests/oracle/data/four_classes.csv", row.names = FALSE, quote = FALSE)
m <- 200; who <- sort(sample(1:90, m, replace = TRUE)); labels <- c("effusion", "nodule", "oedema"); share <- c(.35, .12, .5)
truth <- sapply(share, function(s) rbinom(m, 1, s)); score <- round(plogis(matrix(rnorm(m * 3), m) + 1.8 * truth - 1), 2)
out <- data.frame(patient = who, truth, score); names(out) <- c("patient", labels, paste0("p_", labels))
write.csv(out, "tests/oracle/data/three_labels.csv", row.names = FALSE, quote = FALSE)
