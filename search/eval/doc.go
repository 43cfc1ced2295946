// Package eval owns the evaluation of composed image retrieval: the readers of the benchmarks' own layouts and files, their
// protocols to the letter, the tables, pictures and submissions that come out, and the embedded world written out in all five
// layouts.
//
//	FashionIQ          recall in three categories (Wu et al., CVPR 2021)
//	CIRR               recall, and recall within groups of six (Liu et al., ICCV 2021)
//	CIRCO              mAP with several right answers and semantic aspects (Baldrati et al., ICCV 2023)
//	domain conversion  Pic2Word's lists over ImageNet and ImageNet-R (Saito et al., CVPR 2023)
//	object composition Pic2Word's boxes of COCO val2017
//
// A [Dataset] is read by one of the Load functions, an [Evaluator] ranks its galleries by each [Method], and the [Result] is
// written as tables, rankings and a page with pictures. Rankings are deterministic: of equal scores the lower gallery index comes
// first. Scores are f32 and compared as the references compare them, by 1-s where they sort distances.
package eval
