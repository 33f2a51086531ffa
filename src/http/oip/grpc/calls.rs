//! Each call: read, one call into what HTTP has for it, render.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::super::super::HttpState;
use super::super::super::access::Admitted;
use super::super::super::error::{Problem, ProblemCode};
use super::super::super::exchange::client_of;
use super::super::super::health::failing_check;
use super::super::metadata::{self, ModelMetadata, SERVER, TensorMetadata};
use super::super::repository::{self, IndexEntry};
use super::super::statistics::{self, Took, VersionStatistics};
use super::proto::grpc_inference_service_server::GrpcInferenceService;
use super::proto::model_metadata_response::TensorMetadata as TensorMessage;
use super::proto::repository_index_response::ModelIndex;
use super::proto::{
    InferStatistics, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ModelStatistics,
    ModelStatisticsRequest, ModelStatisticsResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse, StatisticDuration,
};
use super::stream::Answers;
use super::{infer, named, number, stream, target};

/// The calls, and what they work with.
pub(super) struct Calls(pub(super) HttpState);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Calls {
    type ModelStreamInferStream = Answers;

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        let ready = failing_check(&self.0).await.is_none();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Answer<ServerMetadataResponse> {
        Ok(Response::new(ServerMetadataResponse {
            name: SERVER.name.to_owned(),
            version: SERVER.version.to_owned(),
            extensions: SERVER.extensions.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let (_, extensions, ModelReadyRequest { name, version }) = request.into_parts();
        let made_ready = async {
            let model = named(&extensions, &name)?;
            metadata::make_ready(&self.0.context, &model, &target(&version)?).await
        };
        // Where HTTP has a status for it, the message has a word.
        let ready = match made_ready.await {
            Ok(()) => true,
            Err(problem) if is_not_ready(&problem) => false,
            Err(problem) => return Err(problem.into()),
        };
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Answer<ModelMetadataResponse> {
        let (_, extensions, ModelMetadataRequest { name, version }) = request.into_parts();
        let model = named(&extensions, &name)?;
        let metadata = metadata::describe(&self.0.context, &model, number(&version)?).await?;
        Ok(Response::new(metadata.into()))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let (metadata, extensions, message) = request.into_parts();
        let model = named(&extensions, &message.model_name)?;
        let share = self.0.predictions.share(model.as_str())?;
        let client = client_of(metadata.as_ref());
        let told = infer::answer(&self.0.context, model, client, message).await?;
        let mut response = Response::new(told.answer);
        response.metadata_mut().insert("x-perennial-version", told.version.into());
        // Until the answer is taken.
        response.extensions_mut().insert(Arc::new(share));
        Ok(response)
    }

    async fn model_stream_infer(
        &self,
        request: Request<tonic::Streaming<ModelInferRequest>>,
    ) -> Answer<Answers> {
        Ok(Response::new(stream::answer(self.0.clone(), request)?))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Answer<ModelStatisticsResponse> {
        let (_, extensions, ModelStatisticsRequest { name, version }) = request.into_parts();
        let statistics = if name.is_empty() {
            Admitted::of(&extensions)?.opens(None)?;
            statistics::of_all(&self.0.context)
        } else {
            let model = named(&extensions, &name)?;
            statistics::of(&self.0.context, &model, number(&version)?).await?
        };
        let model_stats = statistics.into_iter().map(ModelStatistics::from).collect();
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Answer<RepositoryIndexResponse> {
        Admitted::of(request.extensions())?.opens(None)?;
        let entries = repository::entries(&self.0.context, request.get_ref().ready).await?;
        let models = entries.into_iter().map(ModelIndex::from).collect();
        Ok(Response::new(RepositoryIndexResponse { models }))
    }
}

/// Whether there is no such model or version, or none that can answer.
fn is_not_ready(problem: &Problem) -> bool {
    matches!(problem.code(), ProblemCode::NotFound | ProblemCode::Conflict)
}

impl From<ModelMetadata> for ModelMetadataResponse {
    fn from(metadata: ModelMetadata) -> Self {
        let ModelMetadata { name, versions, platform, inputs, outputs } = metadata;
        let tensor = |TensorMetadata { name, datatype, shape }| TensorMessage {
            name,
            datatype: datatype.as_str().to_owned(),
            shape,
        };
        Self {
            name: name.to_string(),
            versions,
            platform: platform.to_owned(),
            inputs: inputs.into_iter().map(tensor).collect(),
            outputs: outputs.into_iter().map(tensor).collect(),
        }
    }
}

impl From<IndexEntry> for ModelIndex {
    fn from(IndexEntry { name, version, state, reason }: IndexEntry) -> Self {
        Self {
            name: name.to_string(),
            version: version.unwrap_or_default(),
            state: state.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

impl From<VersionStatistics> for ModelStatistics {
    fn from(of: VersionStatistics) -> Self {
        let took = |Took { count, ns }| Some(StatisticDuration { count, ns });
        let stats = of.inference_stats;
        Self {
            name: of.name.to_string(),
            version: of.version,
            last_inference: of.last_inference,
            inference_count: of.inference_count,
            execution_count: of.execution_count,
            inference_stats: Some(InferStatistics {
                success: took(stats.success),
                fail: took(stats.fail),
                queue: took(stats.queue),
                compute_input: took(stats.compute_input),
                compute_infer: took(stats.compute_infer),
                compute_output: took(stats.compute_output),
            }),
        }
    }
}
